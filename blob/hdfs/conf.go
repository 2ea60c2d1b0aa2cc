package hdfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"time"

	lib "github.com/colinmarc/hdfs/v2"
	"github.com/colinmarc/hdfs/v2/hadoopconf"
	"github.com/jcmturner/gokrb5/v8/client"
	krbconfig "github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/keytab"

	"pegasus/base/config"
	"pegasus/blob"
)

const defaultPort = "8020" // of a name node

// optionsOf puts together what the configuration and Hadoop's own files say.
func optionsOf(c config.Blob) (lib.ClientOptions, *login, error) {
	conf, err := hadoopConf(c)
	if err != nil {
		return lib.ClientOptions{}, nil, err
	}
	rest := maps.Clone(conf)
	maps.DeleteFunc(rest, func(k, _ string) bool { return strings.HasPrefix(k, "fs.default") }) // read here
	o := lib.ClientOptionsFromConf(rest)
	kerberos := o.KerberosClient != nil || c.Principal != ""
	o.KerberosClient = nil
	if o.Addresses = c.NameNodes; len(o.Addresses) == 0 {
		if o.Addresses, err = nameNodes(conf); err != nil {
			return o, nil, err
		}
	}
	o.UseDatanodeHostname = o.UseDatanodeHostname || c.DataNodeHost
	if c.Protection != "" {
		o.DataTransferProtection = c.Protection
	}
	if o.DataTransferProtection == lib.DataTransferProtectionIntegrity {
		return o, nil, blob.Failf(blob.ErrInvalid, "data transfer protection \"integrity\" isn't supported: the client library loses bytes with it; "+
			"write hdfs_data_transfer_protection = \"privacy\" if the data nodes offer it, or \"authentication\"")
	}
	if !kerberos {
		o.User, err = userOf(c)
		return o, nil, err
	}
	if c.NameNodeSPN != "" {
		o.KerberosServicePrincipleName, _, _ = strings.Cut(c.NameNodeSPN, "@")
	}
	if o.KerberosServicePrincipleName == "" {
		return o, nil, blob.Failf(blob.ErrInvalid, "hdfs_name_node_principal is missing: write the Kerberos service of the name nodes, for example nn/_HOST")
	}
	l, err := newLogin(c)
	return o, l, err
}

// hadoopConf reads Hadoop's files.
func hadoopConf(c config.Blob) (hadoopconf.HadoopConf, error) {
	dir := c.HadoopConf
	if dir == "" && len(c.NameNodes) == 0 {
		if dir = os.Getenv("HADOOP_CONF_DIR"); dir == "" {
			return nil, blob.Failf(blob.ErrInvalid, "hdfs_name_nodes is missing, and neither hdfs_conf_dir nor HADOOP_CONF_DIR of the environment names Hadoop's configuration")
		}
	}
	if dir == "" {
		return nil, nil
	}
	conf, err := hadoopconf.Load(dir)
	switch {
	case err != nil:
		return nil, blob.Failf(blob.ErrInvalid, "Hadoop's configuration in %s: %w", dir, err)
	case conf == nil:
		return nil, blob.Failf(blob.ErrInvalid, "%s has neither core-site.xml nor hdfs-site.xml", dir)
	}
	return conf, nil
}

// nameNodes returns the addresses of the name nodes of fs.defaultFS: those of its name service
// (dfs.ha.namenodes.NS, dfs.namenode.rpc-address.NS.ID), or the one that it names itself.
func nameNodes(conf hadoopconf.HadoopConf) ([]string, error) {
	fs := conf["fs.defaultFS"]
	if fs == "" {
		fs = conf["fs.default.name"]
	}
	u, err := url.Parse(fs)
	if err != nil || u.Scheme != "hdfs" || u.Host == "" {
		return nil, blob.Failf(blob.ErrInvalid, "Hadoop's configuration: fs.defaultFS is %q, not hdfs://NAME; write hdfs_name_nodes", fs)
	}
	ids := conf["dfs.ha.namenodes."+u.Host]
	if ids == "" {
		return []string{withPort(u.Host)}, nil
	}
	var out []string
	for id := range strings.SplitSeq(ids, ",") {
		key := "dfs.namenode.rpc-address." + u.Host + "." + strings.TrimSpace(id)
		addr := strings.TrimSpace(conf[key])
		if addr == "" {
			return nil, blob.Failf(blob.ErrInvalid, "Hadoop's configuration: %s is missing", key)
		}
		out = append(out, withPort(addr))
	}
	return out, nil
}

func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), defaultPort)
}

func userOf(c config.Blob) (string, error) {
	if c.User != "" {
		return c.User, nil
	}
	if u := os.Getenv("HADOOP_USER_NAME"); u != "" {
		return u, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", blob.Failf(blob.ErrInvalid, "hdfs_user is missing, and the user of the process is unknown: %w", err)
	}
	return u.Username, nil
}

// login gets tickets of Kerberos, from a keytab or from a ticket cache that somebody else renews.
type login struct {
	conf        *krbconfig.Config
	user, realm string
	keytab      *keytab.Keytab // nil: the cache
	cache       string

	mu     sync.Mutex
	k      *client.Client
	cached time.Time // when the cache was written that k is of
}

func newLogin(c config.Blob) (*login, error) {
	fail := func(key string, err error) (*login, error) {
		return nil, blob.Failf(blob.ErrInvalid, "%s: %w", key, err)
	}
	conf, err := krbconfig.Load(c.Krb5Conf)
	var unsupported krbconfig.UnsupportedDirective
	if err != nil && !errors.As(err, &unsupported) {
		return fail("hdfs_krb5_conf", err)
	}
	l := &login{conf: conf}
	l.user, l.realm, _ = strings.Cut(c.Principal, "@")
	if l.realm == "" {
		l.realm = conf.LibDefaults.DefaultRealm
	}
	if c.Keytab != "" {
		if l.keytab, err = guard(func() (*keytab.Keytab, error) { return keytab.Load(c.Keytab) }); err != nil {
			return fail("hdfs_keytab", err)
		}
		return l, nil
	}
	l.cache = strings.TrimPrefix(os.Getenv("KRB5CCNAME"), "FILE:")
	if l.cache == "" {
		l.cache = filepath.Join(os.TempDir(), fmt.Sprintf("krb5cc_%d", os.Getuid()))
	}
	return l, nil
}

// client returns a client with a ticket that is valid.
func (l *login) client() (*client.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keytab == nil {
		return l.fromCache()
	}
	if l.k == nil {
		l.k = client.NewWithKeytab(l.user, l.realm, l.keytab, l.conf, client.DisablePAFXFAST(true))
	}
	if err := l.k.AffirmLogin(); err != nil {
		l.k.Destroy()
		l.k = nil
		return nil, failedLogin(l.user+"@"+l.realm, err)
	}
	return l.k, nil
}

func failedLogin(who string, err error) error {
	text := err.Error()
	kind := blob.ErrDenied
	if strings.Contains(text, "Networking_Error") {
		kind = blob.ErrUnavailable
	}
	return blob.Failf(kind, "Kerberos login of %s: %w", who, err)
}

// fromCache reads the ticket cache, again when it was written anew.
func (l *login) fromCache() (*client.Client, error) {
	fi, err := os.Stat(l.cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, blob.Failf(blob.ErrDenied, "no Kerberos ticket at %s (run kinit, or write hdfs_keytab)", l.cache)
	}
	if err != nil {
		return nil, err
	}
	if l.k != nil && fi.ModTime().Equal(l.cached) {
		return l.k, nil
	}
	cc, err := guard(func() (*credentials.CCache, error) { return credentials.LoadCCache(l.cache) })
	if err != nil {
		return nil, blob.Failf(blob.ErrDenied, "ticket cache %s: %w", l.cache, err)
	}
	k, err := client.NewFromCCache(cc, l.conf, client.DisablePAFXFAST(true))
	if err != nil {
		return nil, blob.Failf(blob.ErrDenied, "ticket cache %s: %w", l.cache, err)
	}
	l.k, l.cached = k, fi.ModTime()
	return k, nil
}

func (l *login) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.k != nil && l.keytab != nil {
		l.k.Destroy()
	}
}

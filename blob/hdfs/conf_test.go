package hdfs

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/colinmarc/hdfs/v2/hadoopconf"

	"pegasus/base/config"
	"pegasus/blob"
)

// write makes a directory of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func property(name, value string) string {
	return "<property><name>" + name + "</name><value>" + value + "</value></property>"
}

func TestHadoopConf(t *testing.T) {
	t.Setenv("HADOOP_CONF_DIR", "")
	t.Setenv("HADOOP_USER_NAME", "from-env")
	core := func(fs string) string { return "<configuration>" + property("fs.defaultFS", fs) + "</configuration>" }
	ha := "<configuration>" + property("dfs.nameservices", "ns1,ns2") + property("dfs.ha.namenodes.ns1", "a, b") +
		property("dfs.namenode.rpc-address.ns1.a", "h1:9000") + property("dfs.namenode.rpc-address.ns1.b", "h2") +
		property("dfs.ha.namenodes.ns2", "a") + property("dfs.namenode.rpc-address.ns2.a", "h3:9000") +
		property("dfs.client.use.datanode.hostname", "true") + "</configuration>"
	for _, tc := range []struct {
		files map[string]string
		want  string // the addresses, or what the error says
	}{
		{map[string]string{"core-site.xml": core("hdfs://ns1"), "hdfs-site.xml": ha}, "h1:9000 h2:8020"},
		{map[string]string{"core-site.xml": core("hdfs://ns2"), "hdfs-site.xml": ha}, "h3:9000"},
		{map[string]string{"core-site.xml": core("hdfs://h4:1234/x")}, "h4:1234"},
		{map[string]string{"core-site.xml": core("hdfs://h4")}, "h4:8020"},
		{map[string]string{"core-site.xml": "<configuration>" + property("fs.default.name", "hdfs://old") + "</configuration>"}, "old:8020"},
		{map[string]string{"core-site.xml": core("s3a://b")}, `fs.defaultFS is "s3a://b"`},
		{map[string]string{"core-site.xml": core("%zz")}, "fs.defaultFS is"},
		{map[string]string{"hdfs-site.xml": ha}, `fs.defaultFS is ""`},
		{map[string]string{"core-site.xml": core("hdfs://ns3"), "hdfs-site.xml": strings.ReplaceAll(ha, "ha.namenodes.ns2", "ha.namenodes.ns3")}, "dfs.namenode.rpc-address.ns3.a is missing"},
		{map[string]string{"core-site.xml": "<configuration"}, "Hadoop's configuration in"},
		{nil, "has neither core-site.xml nor hdfs-site.xml"},
	} {
		c := config.DefaultBlob()
		c.Type, c.HadoopConf = "hdfs", write(t, tc.files)
		d, err := Open(t.Context(), c)
		if err != nil {
			if !errors.Is(err, blob.ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v: %v, want %s", tc.files, err, tc.want)
			}
			continue
		}
		o := d.(*Driver).options
		if got := strings.Join(o.Addresses, " "); got != tc.want || o.User != "from-env" || o.UseDatanodeHostname != (len(tc.files) == 2) {
			t.Errorf("%v: %s, %+v, want %s", tc.files, got, o, tc.want)
		}
		t.Setenv("HADOOP_CONF_DIR", c.HadoopConf)
		c.HadoopConf, c.User = "", "me"
		if d, err := Open(t.Context(), c); err != nil || d.(*Driver).options.User != "me" || strings.Join(d.(*Driver).options.Addresses, " ") != tc.want {
			t.Errorf("from the environment: %v", err)
		}
		c.NameNodes = []string{"x:1"}
		if d, err := Open(t.Context(), c); err != nil || strings.Join(d.(*Driver).options.Addresses, " ") != "x:1" {
			t.Errorf("hdfs_name_nodes don't go first: %v", err)
		}
		t.Setenv("HADOOP_CONF_DIR", "")
	}
	if _, err := Open(t.Context(), config.DefaultBlob()); !errors.Is(err, blob.ErrInvalid) || !strings.Contains(err.Error(), "hdfs_name_nodes is missing") {
		t.Errorf("nothing: %v", err)
	}
}

func TestKerberosSettings(t *testing.T) {
	t.Setenv("HADOOP_CONF_DIR", "")
	dir := write(t, map[string]string{"krb5.conf": "[libdefaults]\ndefault_realm = EXAMPLE.COM\n", "bad.keytab": "xx",
		"core-site.xml": "<configuration>" + property("fs.defaultFS", "hdfs://h") + property("hadoop.security.authentication", "kerberos") +
			property("dfs.namenode.kerberos.principal", "nn/_HOST@EXAMPLE.COM") + property("dfs.data.transfer.protection", "integrity,privacy") + "</configuration>"})
	c := config.DefaultBlob()
	c.Type, c.HadoopConf, c.Krb5Conf = "hdfs", dir, filepath.Join(dir, "krb5.conf")
	t.Setenv("KRB5CCNAME", "FILE:"+filepath.Join(dir, "cache"))
	d, err := OpenWith(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.options.KerberosServicePrincipleName != "nn/_HOST" || d.options.DataTransferProtection != "privacy" || d.login == nil || d.login.realm != "EXAMPLE.COM" {
		t.Errorf("%+v, %+v", d.options, d.login)
	}
	if _, err := d.Stat(t.Context(), "f"); !errors.Is(err, blob.ErrDenied) || !strings.Contains(err.Error(), "kinit") {
		t.Errorf("no ticket: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cache"), []byte("\x05\x04rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stat(t.Context(), "f"); err == nil {
		t.Error("a ticket cache that is rubbish is taken")
	}
	b := c
	b.Protection = "integrity"
	if _, err := OpenWith(b, nil); !errors.Is(err, blob.ErrInvalid) || !strings.Contains(err.Error(), "integrity") {
		t.Errorf("integrity: %v", err)
	}
	for change, want := range map[*config.Blob]string{
		{Principal: "x@Y", Keytab: filepath.Join(dir, "bad.keytab")}:              "hdfs_keytab",
		{Principal: "x@Y", Keytab: filepath.Join(dir, "none")}:                    "hdfs_keytab",
		{Principal: "x@Y", Krb5Conf: filepath.Join(dir, "none")}:                  "hdfs_krb5_conf",
		{Principal: "x@Y", NameNodes: []string{"h:1"}, Krb5Conf: "no SPN is set"}: "hdfs_name_node_principal",
	} {
		b := c
		b.Principal, b.Keytab = change.Principal, change.Keytab
		if change.Krb5Conf != "" {
			b.Krb5Conf = change.Krb5Conf
		}
		if change.NameNodes != nil {
			b.NameNodes, b.HadoopConf = change.NameNodes, ""
		}
		if _, err := OpenWith(b, nil); !errors.Is(err, blob.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestFileSum compares with what "hdfs dfs -checksum" says of such files.
func TestFileSum(t *testing.T) {
	whole := newFileSum(1 << 20)
	pieces := newFileSum(1 << 20)
	b := make([]byte, 2<<20+777)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	whole.Write(b)
	for i := 0; i < len(b); i += 333 {
		pieces.Write(b[i:min(i+333, len(b))])
	}
	if w, p := whole.sum(), pieces.sum(); hex.EncodeToString(w) != hex.EncodeToString(p) {
		t.Errorf("in pieces %x, at once %x", p, w)
	}
	if got := hex.EncodeToString(newFileSum(1 << 20).sum()); got != "70bc8f4b72a86921468bf8e8441dce51" {
		t.Errorf("of an empty file %s", got) // the MD5 of 32 zeros
	}
}

func FuzzNameNodes(f *testing.F) {
	f.Add("hdfs://ns", "a,b", "h:1")
	f.Add("%zz", "", "[::1]")
	f.Fuzz(func(t *testing.T, fs, ids, addr string) {
		list, err := nameNodes(hadoopconf.HadoopConf{"fs.defaultFS": fs, "dfs.ha.namenodes.ns": ids, "dfs.namenode.rpc-address.ns.a": addr, "dfs.namenode.rpc-address.ns.b": addr})
		if err == nil && len(list) == 0 {
			t.Fatalf("%q %q %q: no address and no error", fs, ids, addr)
		}
	})
}

// Package stores knows every kind of blob store, and makes those of a configuration or a URL.
//
// It owns the list of kinds and the form of URLs. Servers and commands use it; packages that
// store files are given a *blob.Store, or a *blob.Set where a request names one.
package stores

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/hdfs"
	"pegasus/blob/local"
	"pegasus/blob/s3"
)

// openers are the kinds, by the type in the configuration.
var openers = map[string]blob.Opener{"local": local.Open, "s3": s3.Open, "hdfs": hdfs.Open}

// New makes the stores of a configuration. Failures that are tried again go to the log; nil: nowhere.
func New(configs map[string]config.Blob, log *logrus.Entry) *blob.Set {
	return blob.NewSet(configs, openers, func(name string, c config.Blob) blob.Options {
		o := blob.Options{Timeout: c.Timeout.D(), RetryTime: c.RetryTime.D(), UploadRate: c.UploadRate, DownloadRate: c.DownloadRate}
		if log != nil {
			o.OnRetry = func(err error, pause time.Duration) {
				log.WithError(err).WithField("pause", pause.Round(time.Millisecond)).Warnf("blob store %s: trying again", name)
			}
		}
		return o
	})
}

// Find returns the store that a person names: the name of one of the set, or a URL (ParseURL). close
// ends what was opened for a URL.
func Find(ctx context.Context, set *blob.Set, name string) (s *blob.Store, close func(), err error) {
	if !strings.Contains(name, "://") {
		s, err = set.Get(ctx, name)
		return s, func() {}, err
	}
	c, err := ParseURL(name)
	if err != nil {
		return nil, nil, err
	}
	if s, err = set.Make(ctx, redact(name), c); err != nil {
		return nil, nil, err
	}
	return s, func() { s.Close() }, nil
}

func redact(name string) string {
	name, _, _ = strings.Cut(name, "?")
	return name
}

// schemes are the kinds by the scheme of a URL.
var schemes = map[string]string{"file": "local", "s3": "s3", "hdfs": "hdfs"}

// ParseURL reads file:///DIRECTORY, s3://BUCKET/PREFIX or hdfs://HOST:PORT,HOST:PORT/DIRECTORY (no
// host: that of Hadoop's configuration). Behind a ? stand keys of [blob.NAME], where s3_ or hdfs_
// may be left out: s3://b?endpoint=http://h:1&region=x.
func ParseURL(text string) (config.Blob, error) {
	fail := func(format string, args ...any) (config.Blob, error) {
		return config.Blob{}, blob.Failf(blob.ErrInvalid, "%q: %s; write file:///DIRECTORY, s3://BUCKET/PREFIX or hdfs://HOST:PORT/DIRECTORY", text, fmt.Sprintf(format, args...))
	}
	scheme, rest, _ := strings.Cut(text, "://")
	kind, known := schemes[scheme]
	if !known {
		return fail("no kind of blob store is %q", scheme)
	}
	rest, query, _ := strings.Cut(rest, "?")
	host, path, _ := strings.Cut(rest, "/")
	set := map[string]string{"type": kind, "path": path}
	switch kind {
	case "local":
		if host != "" {
			return fail("a file has no host")
		}
		set["path"] = "/" + path
	case "hdfs":
		set["path"] = "/" + path
		if host != "" {
			set["hdfs_name_nodes"] = host
		}
	case "s3":
		set["s3_bucket"] = host
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return fail("behind the ?: %v", err)
	}
	keys := config.BlobKeys()
	for k, v := range values {
		if !slices.Contains(keys, k) && slices.Contains(keys, kind+"_"+k) {
			k = kind + "_" + k
		}
		if !slices.Contains(keys, k) {
			return fail("unknown key %q", k)
		}
		set[k] = strings.Join(v, ",")
	}
	b, err := config.BlobFrom(set)
	if err != nil {
		return fail("%v", err)
	}
	return b, nil
}

package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"pegasus/base/config"
	"pegasus/blob"
)

const (
	dialTimeout = 10 * time.Second
	idleConns   = 16
	idleTimeout = time.Minute
)

// Driver is a bucket, or a part of one.
type Driver struct {
	core         minio.Core
	transport    *http.Transport
	bucket       string
	prefix       string // of all keys: "" or with a slash at its end
	where        string
	storageClass string
}

// Dialer opens connections.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Open makes a driver of [blob.NAME] with type "s3".
func Open(_ context.Context, c config.Blob) (blob.Driver, error) {
	return OpenWith(c, (&net.Dialer{Timeout: dialTimeout}).DialContext)
}

// OpenWith is Open with connections that dial makes.
func OpenWith(c config.Blob, dial Dialer) (*Driver, error) {
	endpoint, secure, lookup := "s3."+c.Region+".amazonaws.com", true, minio.BucketLookupAuto
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, blob.Failf(blob.ErrInvalid, "s3_endpoint: %q is no URL of a host; write, for example, https://s3.example.com:9000", c.Endpoint)
		}
		endpoint, secure, lookup = u.Host, u.Scheme == "https", minio.BucketLookupDNS
		if c.PathStyle {
			lookup = minio.BucketLookupPath
		}
	}
	tr, err := transport(c, dial)
	if err != nil {
		return nil, err
	}
	core, err := minio.NewCore(endpoint, &minio.Options{Creds: credentialsOf(c, dial), Secure: secure, Transport: tr, Region: c.Region,
		BucketLookup: lookup, MaxRetries: 1}) // package blob tries again
	if err != nil {
		return nil, blob.Fail(blob.ErrInvalid, err)
	}
	d := &Driver{core: *core, transport: tr, bucket: c.Bucket, prefix: strings.Trim(c.Path, "/"), storageClass: c.StorageClass}
	if d.prefix != "" {
		d.prefix += "/"
	}
	d.where = fmt.Sprintf("bucket %s at %s", c.Bucket, core.EndpointURL())
	if d.prefix != "" {
		d.where = d.prefix + " in " + d.where
	}
	return d, nil
}

func transport(c config.Blob, dial Dialer) (*http.Transport, error) {
	tr := &http.Transport{DialContext: dial, Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: dialTimeout, DisableCompression: true,
		MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTimeout, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if c.CAFile == "" {
		return tr, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, blob.Failf(blob.ErrInvalid, "s3_ca_file: %w", err)
	}
	tr.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !tr.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, blob.Failf(blob.ErrInvalid, "s3_ca_file: %s has no certificate in PEM form", c.CAFile)
	}
	return tr, nil
}

// Where implements blob.Driver.
func (d *Driver) Where() string { return d.where }

// Close implements blob.Driver.
func (d *Driver) Close() error {
	d.transport.CloseIdleConnections()
	return nil
}

func (d *Driver) key(name string) string { return d.prefix + name }

// dirKey is what the keys below a directory begin with.
func (d *Driver) dirKey(dir string) string {
	if dir == "" {
		return d.prefix
	}
	return d.prefix + dir + "/"
}

// classify gives an error of the protocol its kind.
func (d *Driver) classify(err error) error {
	if err == nil || errors.Is(err, blob.ErrSource) || errors.Is(err, blob.ErrDenied) || errors.Is(err, blob.ErrCorrupt) {
		return err
	}
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		var op *net.OpError
		if errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return blob.Fail(blob.ErrUnavailable, err)
		}
		var cert *tls.CertificateVerificationError
		if errors.As(err, &cert) {
			return blob.Failf(blob.ErrInvalid, "%w (s3_ca_file names the authorities that are trusted)", err)
		}
		return err
	}
	err = fmt.Errorf("%s: %s", r.Code, strings.TrimSuffix(r.Message, "."))
	switch r.Code {
	case "NoSuchBucket":
		return blob.Failf(blob.ErrInvalid, "the bucket %s doesn't exist", d.bucket)
	case "NoSuchKey":
		return blob.Fail(blob.ErrNotFound, err)
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AccountProblem", "AllAccessDisabled":
		return blob.Fail(blob.ErrDenied, err)
	case "PreconditionFailed":
		return blob.ErrChanged
	case "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest", "IncompleteBody", "InvalidPart":
		return blob.Fail(blob.ErrCorrupt, err)
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "StorageFull":
		return blob.Fail(blob.ErrNoSpace, err)
	case "KeyTooLongError", "InvalidObjectName", "InvalidBucketName", "EntityTooLarge", "MethodNotAllowed", "NotImplemented", "AuthorizationHeaderMalformed", "PermanentRedirect":
		return blob.Fail(blob.ErrInvalid, err)
	}
	switch r.StatusCode {
	case http.StatusNotFound:
		return blob.Fail(blob.ErrNotFound, err)
	case http.StatusForbidden, http.StatusUnauthorized:
		return blob.Fail(blob.ErrDenied, err)
	case http.StatusInsufficientStorage:
		return blob.Fail(blob.ErrNoSpace, err)
	}
	return blob.Fail(blob.ErrUnavailable, err)
}

// metaMD5 is where the MD5 of a file stands: x-amz-meta-pegasus-md5.
const metaMD5 = "pegasus-md5"

func info(o minio.ObjectInfo) blob.Info {
	i := blob.Info{Size: o.Size, Modified: o.LastModified, Version: o.ETag}
	for k, v := range o.UserMetadata {
		if strings.EqualFold(k, metaMD5) {
			i.MD5 = strings.ToLower(v)
		}
	}
	return i
}

// Stat implements blob.Driver.
func (d *Driver) Stat(ctx context.Context, name string) (blob.Info, error) {
	o, err := d.core.StatObject(ctx, d.bucket, d.key(name), minio.StatObjectOptions{})
	if err = d.classify(err); err == nil {
		return info(o), nil
	}
	if !errors.Is(err, blob.ErrNotFound) {
		return blob.Info{}, err
	}
	// A directory is there while something is in it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, is := <-d.core.Client.ListObjects(ctx, d.bucket, minio.ListObjectsOptions{Prefix: d.dirKey(name), MaxKeys: 1, Recursive: true})
	switch {
	case !is:
		return blob.Info{}, err
	case first.Err != nil:
		return blob.Info{}, d.classify(first.Err)
	}
	return blob.Info{Dir: true}, nil
}

// List implements blob.Driver.
func (d *Driver) List(ctx context.Context, dir string) ([]blob.Info, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var out []blob.Info
	for o := range d.core.Client.ListObjects(ctx, d.bucket, minio.ListObjectsOptions{Prefix: d.dirKey(dir)}) {
		if o.Err != nil {
			return nil, d.classify(o.Err)
		}
		blob.Progress(ctx)
		name := strings.TrimPrefix(o.Key, d.prefix)
		if rest, is := strings.CutSuffix(name, "/"); is {
			if rest != dir { // else the object that some tools make for a directory
				out = append(out, blob.Info{Name: rest, Dir: true})
			}
			continue
		}
		i := info(o)
		i.Name = name
		out = append(out, i)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, blob.Failf(blob.ErrNotFound, "nothing is there")
	}
	return out, nil
}

// Read implements blob.Driver.
func (d *Driver) Read(ctx context.Context, i blob.Info, off, n int64) (io.ReadCloser, error) {
	var o minio.GetObjectOptions
	if err := o.SetRange(off, off+n-1); err != nil {
		return nil, err
	}
	if err := o.SetMatchETag(i.Version); err != nil {
		return nil, err
	}
	body, _, _, err := d.core.GetObject(ctx, d.bucket, d.key(i.Name), o)
	err = d.classify(err)
	if errors.Is(err, blob.ErrNotFound) {
		err = blob.ErrChanged
	}
	return body, err
}

// Delete implements blob.Driver.
func (d *Driver) Delete(ctx context.Context, name string) error {
	return ignoreMissing(d.classify(d.core.RemoveObject(ctx, d.bucket, d.key(name), minio.RemoveObjectOptions{})))
}

func ignoreMissing(err error) error {
	if errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	return err
}

// DeleteTree implements blob.Driver.
func (d *Driver) DeleteTree(ctx context.Context, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	objects := make(chan minio.ObjectInfo)
	listed := make(chan error, 1)
	go func() {
		defer close(objects)
		for o := range d.core.Client.ListObjects(ctx, d.bucket, minio.ListObjectsOptions{Prefix: d.dirKey(dir), Recursive: true}) {
			if o.Err != nil {
				listed <- o.Err
				return
			}
			blob.Progress(ctx)
			select {
			case objects <- o:
			case <-ctx.Done():
				listed <- ctx.Err()
				return
			}
		}
		listed <- nil
	}()
	for e := range d.core.RemoveObjects(ctx, d.bucket, objects, minio.RemoveObjectsOptions{}) {
		if err := ignoreMissing(d.classify(e.Err)); err != nil {
			return err
		}
	}
	return d.classify(<-listed)
}

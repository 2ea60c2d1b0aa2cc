package stores

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pegasus/base/config"
	"pegasus/blob"
)

func TestParseURL(t *testing.T) {
	with := func(f func(*config.Blob)) config.Blob {
		b := config.DefaultBlob()
		f(&b)
		return b
	}
	for text, want := range map[string]config.Blob{
		"file:///a/b c": with(func(b *config.Blob) { b.Path = "/a/b c" }),
		"file:///a?without_meta=true&timeout=3s": with(func(b *config.Blob) {
			b.Path, b.LocalLenient, b.Timeout = "/a", true, config.Duration(3*time.Second)
		}),
		"s3://bu/pre/fix?endpoint=http://h:1&region=r&s3_path_style=false": with(func(b *config.Blob) {
			b.Type, b.Bucket, b.Path, b.Endpoint, b.Region, b.PathStyle = "s3", "bu", "pre/fix", "http://h:1", "r", false
		}),
		"hdfs://h1:8020,h2:8020/x/y?user=me&replication=2": with(func(b *config.Blob) {
			b.Type, b.NameNodes, b.Path, b.User, b.Replication = "hdfs", []string{"h1:8020", "h2:8020"}, "/x/y", "me", 2
		}),
		"hdfs:///x": with(func(b *config.Blob) { b.Type, b.Path = "hdfs", "/x" }),
	} {
		got, err := ParseURL(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"ftp://x": `no kind of blob store is "ftp"`, "file://host/x": "no host", "s3:///x": "s3_bucket: is missing", "s3://b?colour=red": `unknown key "colour"`,
		"s3://b?endpoint=h": "s3_endpoint: \"h\" is no URL", "file:///a?timeout=x": "timeout: the value must be a duration", "hdfs://h/x": "not an address",
		"file:///a?bucket=x": `unknown key "bucket"`, "file:///a?s3_bucket=x": "has no meaning", "s3://b?path_style=maybe": "path_style", "file:///x?%zz": "behind the ?",
		"file:///x?replication=1%0a[meta]": "unknown key", "hdfs:///x?replication=1%0a[meta]": "replication",
	} {
		if _, err := ParseURL(text); !errors.Is(err, blob.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	b := config.DefaultBlob()
	b.Path = dir
	set := New(map[string]config.Blob{"one": b}, nil)
	defer set.Close()
	for _, name := range []string{"one", "file://" + dir} {
		s, end, err := Find(t.Context(), set, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.PutBytes(t.Context(), "d/"+filepath.Base(name), []byte(name)); err != nil {
			t.Error(err)
		}
		if s.Name() != name || s.Where() != "directory "+dir {
			t.Errorf("%s is %s", name, s)
		}
		end()
	}
	if _, _, err := Find(t.Context(), set, "two"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if _, _, err := Find(t.Context(), set, "ftp://x"); !errors.Is(err, blob.ErrInvalid) {
		t.Errorf("error %v", err)
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("s3://bu/pre/fix?endpoint=http://h:1&region=r")
	f.Add("hdfs://h:1,g:2/x?replication=3")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseURL(text); err == nil && c.Type == "" {
			t.Fatalf("%q: %+v", text, c)
		}
	})
}

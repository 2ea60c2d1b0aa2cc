package hdfs

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/blobtest"
)

// TestKerberos: a cluster that wants Kerberos, and what passes between client and data nodes encrypted.
func TestKerberos(t *testing.T) {
	t.Parallel()
	k := blobtest.StartKDC(t)
	const server = "hdfs/localhost@" + blobtest.Realm
	keys := k.Keytab("hdfs/localhost", "HTTP/localhost")
	cluster := blobtest.StartHDFS(t, k.Conf,
		"hadoop.security.authentication=kerberos", "dfs.namenode.kerberos.principal="+server, "dfs.namenode.keytab.file="+keys,
		"dfs.datanode.kerberos.principal="+server, "dfs.datanode.keytab.file="+keys,
		"dfs.web.authentication.kerberos.principal=HTTP/localhost@"+blobtest.Realm, "dfs.web.authentication.kerberos.keytab="+keys,
		"dfs.block.access.token.enable=true", "dfs.data.transfer.protection=privacy", "dfs.encrypt.data.transfer.cipher.suites=AES/CTR/NoPadding", "ignore.secure.ports.for.testing=true")
	old := k.Keytab("somebody")
	c := settings(cluster, "/open")
	c.User, c.Principal, c.Keytab, c.Krb5Conf, c.NameNodeSPN, c.Protection = "", "somebody@"+blobtest.Realm, k.Keytab("somebody"), k.Conf, server, "privacy"
	o := blob.Options{Timeout: 20 * time.Second}
	store := func(t *testing.T, c config.Blob) *blob.Store {
		s := blob.NewStore("s", driver(t, c, &blobtest.Network{}), o)
		t.Cleanup(func() { s.Close() })
		return s
	}
	s := store(t, c)
	b := blobtest.Random(3<<20+100, 1)
	if _, err := s.Put(t.Context(), "d/f", bytes.NewReader(b), blob.Want{}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "d/f", 1<<30); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if list, err := s.List(t.Context(), "d"); err != nil || len(list) != 1 {
		t.Errorf("list: %+v, %v", list, err)
	}
	denied := func(name string, change func(*config.Blob), want string) {
		t.Helper()
		c := c
		change(&c)
		_, err := store(t, c).PutBytes(t.Context(), "f", []byte("x"))
		if !errors.Is(err, blob.ErrDenied) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	denied("keys of before", func(c *config.Blob) { c.Keytab = old }, "Kerberos login of somebody@")
	denied("unknown principal", func(c *config.Blob) { c.Principal = "nobody@" + blobtest.Realm }, "Kerberos login of nobody@")
	denied("unknown service", func(c *config.Blob) { c.NameNodeSPN = "nn/localhost" }, "")
	denied("no rights", func(c *config.Blob) { c.Path = "/closed" }, "access denied")
	open := c
	open.User, open.Principal, open.Keytab, open.NameNodeSPN, open.Protection = "somebody", "", "", "", ""
	if _, err := store(t, open).PutBytes(t.Context(), "f", []byte("x")); err == nil || !strings.Contains(err.Error(), "hdfs_principal") {
		t.Errorf("without Kerberos: %v", err)
	}
	k.Stop()
	if _, err := store(t, c).Stat(t.Context(), "d/f"); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("without a Kerberos server: %v", err)
	}
	if _, err := s.Stat(t.Context(), "d/f"); err != nil {
		t.Errorf("with a ticket, without a Kerberos server: %v", err)
	}
}

package blobtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Realm is that of a KDC's principals.
const Realm = "TEST.REALM"

// KDC is a running Kerberos server.
type KDC struct {
	Conf string // krb5.conf of its clients
	t    *testing.T
	dir  string
	env  []string
	stop func()
}

// StartKDC starts a Kerberos server until the test ends.
func StartKDC(t *testing.T) *KDC {
	t.Helper()
	for _, p := range []string{"krb5kdc", "kdb5_util", "kadmin.local"} {
		if _, err := exec.LookPath(sbin(p)); err != nil {
			Lacking(t, "no Kerberos server: install krb5-kdc and krb5-admin-server (%v)", err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	k := &KDC{t: t, dir: t.TempDir()}
	k.Conf = filepath.Join(k.dir, "krb5.conf")
	k.env = append(os.Environ(), "KRB5_CONFIG="+k.Conf, "KRB5_KDC_PROFILE="+filepath.Join(k.dir, "kdc.conf"))
	for name, text := range map[string]string{
		"krb5.conf": fmt.Sprintf("[libdefaults]\ndefault_realm = %[1]s\ndns_lookup_kdc = false\ndns_lookup_realm = false\nrdns = false\nudp_preference_limit = 1\n"+
			"[realms]\n%[1]s = {\nkdc = %[2]s\n}\n[domain_realm]\nlocalhost = %[1]s\n127.0.0.1 = %[1]s\n", Realm, addr),
		"kdc.conf": fmt.Sprintf("[kdcdefaults]\nkdc_listen = %[2]s\nkdc_tcp_listen = %[2]s\n[realms]\n%[1]s = {\ndatabase_name = %[3]s/principal\nkey_stash_file = %[3]s/stash\n"+
			"supported_enctypes = aes256-cts-hmac-sha1-96:normal\nmaster_key_type = aes256-cts-hmac-sha1-96\n}\n", Realm, addr, k.dir),
	} {
		if err := os.WriteFile(filepath.Join(k.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	k.run("kdb5_util", "create", "-s", "-P", "master", "-r", Realm)
	var said bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), sbin("krb5kdc"), "-n", "-r", Realm, "-P", filepath.Join(k.dir, "pid"))
	cmd.Env, cmd.Stdout, cmd.Stderr = k.env, &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	k.stop = func() {
		cmd.Process.Kill()
		<-ended
	}
	t.Cleanup(k.stop)
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			return k
		}
		select {
		case <-ended:
			t.Fatalf("the Kerberos server ended: %s", said.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			k.stop()
			t.Fatalf("the Kerberos server doesn't listen: %v, %s", err, said.String())
		}
	}
}

// sbin finds programs that aren't in everybody's PATH.
func sbin(name string) string {
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	return "/usr/sbin/" + name
}

func (k *KDC) run(name string, args ...string) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, sbin(name), args...)
	cmd.Env = k.env
	if out, err := cmd.CombinedOutput(); err != nil {
		k.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// Stop ends the server before the test does.
func (k *KDC) Stop() { k.stop() }

// Keytab makes principals that aren't there (NAME or SERVICE/HOST), and a file with new keys of theirs.
func (k *KDC) Keytab(principals ...string) string {
	k.t.Helper()
	file := filepath.Join(k.dir, fmt.Sprintf("%d.keytab", time.Now().UnixNano()))
	for _, p := range principals {
		k.run("kadmin.local", "-r", Realm, "-q", "addprinc -randkey "+p)
		k.run("kadmin.local", "-r", Realm, "-q", "ktadd -k "+file+" "+p)
	}
	return file
}

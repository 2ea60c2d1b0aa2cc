package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/client/clienttest"
)

// Ctrl-C ends an import, and a question, also while there is nothing to read: of standard input, of a pipe, and of one that nobody has opened to write.
func TestEndWhileReading(t *testing.T) {
	k := clienttest.Start(t, 1)
	k.CreateTable("t", 2, 1)
	c := client.New([]string{k.Meta}, client.Options{})
	defer c.Close()
	fifo := filepath.Join(t.TempDir(), "fifo.csv")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Skip(err)
	}
	const unopened = "a pipe that nobody writes"
	ends := func(what string, asked <-chan struct{}, do func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- do(ctx) }()
		<-asked
		select {
		case err := <-done:
			t.Fatalf("%s ended by itself: %v", what, err)
		default:
		}
		cancel()
		select {
		case err := <-done:
			// Before it reads it may be the search for the table that is ended, which has other words for it.
			if err == nil || what != unopened && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s doesn't end", what)
		}
	}
	const rows = "hash_key,sort_key,value\naGE=,,\naGI=,,\n"
	for _, format := range []string{"csv", "parquet"} {
		in, w := io.Pipe()
		read := make(chan struct{})
		go func() {
			_, _ = io.WriteString(w, rows)
			close(read)
		}()
		ends("standard input", read, func(ctx context.Context) error {
			x := &Transfer{Env: &Env{Client: c, Out: io.Discard}, Errs: io.Discard, In: in}
			return x.Import(ctx, "t", ImportArgs{Files: []string{"-"}, Format: format, Encoding: "base64"})
		})
		w.Close()
	}
	now := make(chan struct{})
	close(now)
	ends(unopened, now, func(ctx context.Context) error {
		x := &Transfer{Env: &Env{Client: c, Out: io.Discard}, Errs: io.Discard}
		return x.Import(ctx, "t", ImportArgs{Files: []string{fifo}, Encoding: "base64"})
	})
	in, w := io.Pipe()
	asked := make(chan struct{})
	go func() {
		_, _ = io.WriteString(w, "t")
		close(asked)
	}()
	ends("a question", asked, func(ctx context.Context) error {
		return (&Asker{In: in, Errs: io.Discard}).Ask(ctx, "Clear the table?", "t")
	})
	w.Close()

	// Whole, they are read to the end. Opened to read and write, a pipe has somebody on its other end, and whoever waits for that goes on.
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	var out bytes.Buffer
	x := &Transfer{Env: &Env{Client: c, Out: &out}, Errs: io.Discard, In: strings.NewReader(rows)}
	if err := x.Import(t.Context(), "t", ImportArgs{Files: []string{"-"}, Format: "csv", Encoding: "base64"}); err != nil || !strings.HasPrefix(out.String(), "2 rows of table t are written") {
		t.Errorf("%v, %s", err, out.String())
	}
}

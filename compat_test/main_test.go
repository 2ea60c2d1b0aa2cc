package compat

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
	"pegasus/internal/repo"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// lacking skips a test whose runtime isn't on this machine and says so, also in the file that
// PEGASUS_LEFT_OUT names, since go test keeps a skipped test's words to itself. With CI=true
// nothing may be lacking.
func lacking(t *testing.T, format string, args ...any) {
	t.Helper()
	msg := fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatal("left out: " + msg)
	}
	if file := os.Getenv("PEGASUS_LEFT_OUT"); file != "" {
		if f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644); err == nil {
			first, _, _ := strings.Cut(msg, "\n")
			fmt.Fprintf(f, "%s: %s\n", t.Name(), first)
			f.Close()
		}
	}
	t.Skip("left out: " + msg)
}

// golden returns the directory of the recordings of the C++ server.
func golden(t *testing.T) string {
	t.Helper()
	dir, err := repo.FindGolden()
	if err != nil {
		lacking(t, "%v", err)
	}
	return dir
}

// control lets a client that runs in another process change the cluster it talks to: it
// serves POST /kill (the replica server with most primaries of temp, SIGKILL), /restart (the one that
// was killed; answers when every partition of temp has all replicas again), /stop (the one with most
// primaries, SIGSTOP; answers when the metas name others), /continue (the one that was stopped),
// /kill-meta (the leader, SIGKILL), /leader (answers when a meta leads), /restart-meta (the one that was killed), /split (doubles the partitions
// of temp; answers when it is split) and
// /move?table=T&to=first or last (all primaries of T to that secondary). It returns its URL.
func control(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	killed := ""
	do := func(name string, f func(*http.Request) (string, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			said, err := f(r)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintf(w, "%s, in %.1f s\n", said, time.Since(start).Seconds())
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /kill", do("kill", func(*http.Request) (string, error) {
		n, err := c.PrimariesOf("temp")
		if err != nil {
			return "", err
		}
		addrs := slices.Sorted(maps.Keys(n))
		victim := slices.MaxFunc(addrs, func(a, b string) int { return n[a] - n[b] })
		killed = c.Name(victim)
		return fmt.Sprintf("%s, primary of %d partitions", killed, n[victim]), c.Kill(killed)
	}))
	mux.HandleFunc("POST /restart", do("restart", func(*http.Request) (string, error) {
		if err := c.Restart(killed); err != nil {
			return "", err
		}
		return killed, c.WaitHealthy("temp", 2*time.Minute)
	}))
	mux.HandleFunc("POST /stop", do("stop", func(*http.Request) (string, error) {
		n, err := c.PrimariesOf("temp")
		if err != nil {
			return "", err
		}
		victim := slices.MaxFunc(slices.Sorted(maps.Keys(n)), func(a, b string) int { return n[a] - n[b] })
		killed = c.Name(victim)
		if err := c.Signal(killed, syscall.SIGSTOP); err != nil {
			return "", err
		}
		t.Cleanup(func() { _ = c.Signal(killed, syscall.SIGCONT) })
		return fmt.Sprintf("%s, primary of %d partitions", killed, n[victim]), cluster.Poll(time.Minute, func() error {
			now, err := c.PrimariesOf("temp")
			if err == nil && now[victim] > 0 {
				err = fmt.Errorf("the metas name %s as primary of %d partitions", killed, now[victim])
			}
			return err
		})
	}))
	mux.HandleFunc("POST /kill-meta", do("kill-meta", func(*http.Request) (name string, err error) {
		if killed, err = c.Leader(); err != nil {
			return "", err
		}
		return killed, c.Kill(killed)
	}))
	mux.HandleFunc("POST /leader", do("leader", func(*http.Request) (string, error) { return c.Leader() }))
	mux.HandleFunc("POST /restart-meta", do("restart-meta", func(*http.Request) (string, error) {
		if err := c.Restart(killed); err != nil {
			return "", err
		}
		return killed, cluster.Poll(time.Minute, func() error {
			out, err := c.CLI(runContext(t, time.Minute), "meta", "status", "--meta", strings.Join(c.Metas(), ","))
			if err == nil && !strings.Contains(out, fmt.Sprintf("answering: %d", len(c.Metas()))) {
				err = fmt.Errorf("meta status: %s", out)
			}
			return err
		})
	}))
	mux.HandleFunc("POST /continue", do("continue", func(*http.Request) (string, error) { return killed, c.Signal(killed, syscall.SIGCONT) }))
	mux.HandleFunc("POST /move", do("move", func(r *http.Request) (string, error) {
		table, to := r.FormValue("table"), r.FormValue("to")
		return "all primaries of " + table + " to the " + to + " secondary", c.MovePrimaries(table, to == "last")
	}))
	mux.HandleFunc("POST /split", do("split", func(*http.Request) (string, error) { return split(t, c) }))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: mux}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}

// runContext bounds a program that a test runs.
func runContext(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// tail returns the end of a long text.
func tail(b []byte, n int) string {
	if len(b) > n {
		return "..." + string(b[len(b)-n:])
	}
	return string(b)
}

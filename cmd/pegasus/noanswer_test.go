package main

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/cli"
)

// needless are the commands of everyCases that ask no cluster.
var needless = []string{"table env help default_ttl", "hash h --partitions 8", "shell", "reference", "config example", "version"}

// Every command that asks a cluster gives up after 3 s if nobody answers, and says what was tried: whether ports refuse, take
// connections and say nothing, or names lead nowhere.
func TestEveryCommandWithoutCluster(t *testing.T) {
	silent, refuses := noServers(t)
	dir := t.TempDir()
	for kind, addr := range map[string]string{"refuses": refuses, "silent": silent, "unknown": "no-such-host.invalid:34601"} {
		t.Run(kind, func(t *testing.T) {
			names := strings.NewReplacer("META", addr, "NODE1", addr, "NODE2", addr, "NODE3", addr, "NODE9", addr, "DIR", dir)
			var wg sync.WaitGroup
			busy := make(chan struct{}, 32)
			n := 0
			for _, c := range everyCases {
				if kind == "unknown" && strings.Contains(c.line, "NODE") {
					continue // the argument itself is wrong
				}
				if slices.Contains(needless, c.line) || c.status != 0 && c.status != healthyOrIll && c.status != cli.ExitNotFound {
					continue
				}
				n++
				wg.Go(func() {
					busy <- struct{}{}
					defer func() { <-busy }()
					line := names.Replace(regexp.MustCompile(`\b(t|s|r|meta|out)N\b`).ReplaceAllString(c.line, "${1}"+kind))
					args, err := splitLine(line)
					if err != nil {
						t.Error(err)
						return
					}
					var out, errs bytes.Buffer
					began := time.Now()
					status := runIn(context.Background(), append(args, "--meta", addr), strings.NewReader(""), &out, &errs)
					took := time.Since(began)
					if status != cli.ExitNoAnswer || took > 8*time.Second || !strings.Contains(errs.String(), addr) || strings.Count(errs.String(), "\n") != 1 {
						t.Errorf("%s: status %d after %v: %s", line, status, took.Round(100*time.Millisecond), errs.String())
					}
				})
			}
			wg.Wait()
			if n < 60 {
				t.Errorf("only %d commands", n)
			}
		})
	}
}

package appenv

import (
	"slices"
	"strings"
	"testing"

	"pegasus/base"
)

func TestRestoreEnvs(t *testing.T) {
	for _, r := range []Restore{
		{Provider: "local_service", Cluster: "onebox", App: "adm", AppID: 2, BackupID: 1795393398250},
		{Provider: "p", Cluster: "c", Policy: "pol", App: "a", AppID: 1, BackupID: 1, SkipBad: true, Path: base.Some("")},
		{Provider: "p", Path: base.Some("x/y"), AppID: 7, BackupID: 5},
	} {
		envs := r.Envs()
		m := map[string]string{"default_ttl": "0"}
		for _, e := range envs {
			m[e.Key] = e.Val
		}
		if got, ok := RestoreOf(m); !ok || got != r {
			t.Errorf("%+v became %+v, %v", r, got, ok)
		}
		if !slices.IsSortedFunc(envs, func(a, b base.Pair[string, string]) int { return strings.Compare(a.Key, b.Key) }) {
			t.Errorf("not sorted: %v", envs)
		}
		kept := base.Pair[string, string]{Key: "default_ttl", Val: "0"}
		if rest := WithoutRestore(append([]base.Pair[string, string]{kept}, envs...)); len(rest) != 1 || rest[0] != kept {
			t.Errorf("without: %v", rest)
		}
	}
	for _, m := range []map[string]string{nil, {"default_ttl": "1"}, {restoreProvider: "p"}, {restoreProvider: "p", restoreBackupID: "x", restoreAppID: "1"}, {restoreProvider: "p", restoreBackupID: "1", restoreAppID: "99999999999"}} {
		if r, ok := RestoreOf(m); ok {
			t.Errorf("%v: %+v", m, r)
		}
	}
}

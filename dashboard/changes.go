package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/gen/placement"
)

// changeTime bounds a change.
const changeTime = 15 * time.Second

func saidArg(said string) string { return url.Values{"said": {said}}.Encode() }

func (d *Dashboard) doRebalance(ctx context.Context, q *http.Request) (string, error) {
	action, said := placement.REBALANCE_START, "The rebalancing has begun."
	if q.PostForm.Get("stop") != "" {
		action, said = placement.REBALANCE_STOP, "The rebalancing ends after the moves that are under way."
	}
	r, err := d.s.Rebalance(ctx, action, "", false)
	if err == nil && action == placement.REBALANCE_START && !r.Active && len(r.Moves) == 0 {
		said = "Nothing is to be moved."
	}
	return said, err
}

var roles = map[string]struct {
	role placement.NodeRole
	said string
}{
	"full":         {placement.NODE_FULL, "can hold replicas and lead partitions again. A rebalancing gives it its share."},
	"no-primaries": {placement.NODE_NO_PRIMARIES, "gives away what it leads."},
	"leaving":      {placement.NODE_LEAVING, "is being taken out: what it holds is moved to others."},
}

func (d *Dashboard) doRole(ctx context.Context, q *http.Request) (string, error) {
	to, ok := roles[q.PostForm.Get("role")]
	node, err := base.ParseAddr(q.PostForm.Get("node"))
	if err != nil || !ok || node == 0 {
		return "", fmt.Errorf("the form names the server %q and the role %q, and one of them is none", q.PostForm.Get("node"), q.PostForm.Get("role"))
	}
	if _, err := d.s.SetNodeRole(ctx, node, to.role); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v %s", node, to.said), nil
}

func (d *Dashboard) doSetting(ctx context.Context, q *http.Request) (string, error) {
	table, key, value := q.PostForm.Get("table"), q.PostForm.Get("key"), strings.TrimSpace(q.PostForm.Get("value"))
	if table == "" || key == "" {
		return "", errors.New("the form lacks the table or the setting")
	}
	if value == "" {
		return fmt.Sprintf("%s is no longer set.", key), d.s.DelEnvs(ctx, table, []string{key})
	}
	if why := appenv.Validate(key, value); why != "" {
		return "", fmt.Errorf("%s can't be %q: %s", key, value, why)
	}
	return fmt.Sprintf("%s is %s now. Replica servers follow within seconds.", key, value), d.s.SetEnvs(ctx, table, []base.Pair[string, string]{{Key: key, Val: value}})
}

func (d *Dashboard) doBackup(ctx context.Context, q *http.Request) (string, error) {
	table, provider := q.PostForm.Get("table"), strings.TrimSpace(q.PostForm.Get("provider"))
	tables, err := d.answers.tables.get()
	if err != nil {
		return "", err
	}
	for i := range tables {
		if tables[i].AppName == table {
			id, err := d.s.StartBackup(ctx, tables[i].AppId, provider, "")
			return fmt.Sprintf("Backup %d has begun. The page Work shows how far it is.", id), err
		}
	}
	return "", fmt.Errorf("table %q: %w", table, errAbsent)
}

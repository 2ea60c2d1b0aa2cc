package tables

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pegasus/client"
	"pegasus/cppmeta"
)

type creator struct {
	made []string
	envs map[string]client.CreateOptions
}

func (c *creator) CreateTable(_ context.Context, name string, _, _ int, o client.CreateOptions) (int32, error) {
	if name == "fails" {
		return 0, errors.New("too few servers")
	}
	c.made, c.envs[name] = append(c.made, name), o
	return int32(100 + len(c.made)), nil
}

func table(id int32, name, status string, partitions int32, envs map[string]string) cppmeta.Table {
	return cppmeta.Table{ID: id, Name: name, Type: "pegasus", Status: status, Partitions: partitions, Replicas: 3, Envs: envs}
}

func TestPlanAndRun(t *testing.T) {
	state := &cppmeta.State{Tables: []cppmeta.Table{
		table(1, "a", "AS_AVAILABLE", 8, map[string]string{"default_ttl": "60", "default_ttl2": "1", "replica.write_throttling": "x", "manual_compact.once.trigger_time": "1", "duplication.master_cluster": "c", "business.info": "b"}),
		table(2, "gone", "AS_DROPPED", 8, nil),
		table(3, "gone", "AS_AVAILABLE", 4, nil), // the dropped one doesn't keep it
		table(4, "twice", "AS_AVAILABLE", 8, nil),
		table(5, "twice", "AS_AVAILABLE", 4, nil),
		table(6, "there", "AS_AVAILABLE", 4, map[string]string{"default_ttl": "1"}),
		table(7, "unlike", "AS_AVAILABLE", 4, nil),
		table(8, "fails", "AS_AVAILABLE", 4, nil),
		table(9, "begins", "AS_CREATING", 4, nil),
		table(10, "huge", "AS_AVAILABLE", 1<<30, nil),
	}}
	there := []cppmeta.Table{table(11, "there", "AS_AVAILABLE", 4, map[string]string{"business.info": "x"}), table(12, "unlike", "AS_AVAILABLE", 8, nil), table(13, "a", "AS_DROPPED", 1, nil)}
	items := Plan(state, there)
	var got []string
	for _, i := range items {
		got = append(got, i.Name+" "+string(i.Action))
	}
	want := []string{"a make", "gone dropped", "gone make", "twice conflict", "twice conflict", "there there", "unlike conflict", "fails make", "begins conflict", "huge conflict"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if a := items[0]; !maps.Equal(a.Envs, map[string]string{"default_ttl": "60", "business.info": "b"}) || len(a.LeftOut) != 4 || !strings.Contains(a.LeftOut["replica.write_throttling"], `"x": `) {
		t.Errorf("%+v", a)
	}
	if s := items[5]; s.NewID != 11 || !strings.HasSuffix(s.Why, "business.info, default_ttl") {
		t.Errorf("%+v", s)
	}
	c := &creator{envs: map[string]client.CreateOptions{}}
	told := 0
	if err := Run(t.Context(), c, items, func(*Item) { told++ }); err != nil || told != 3 {
		t.Fatal(told, err)
	}
	if !slices.Equal(c.made, []string{"a", "gone"}) || items[0].NewID != 101 || items[2].NewID != 102 || items[7].Failed != "too few servers" || len(c.envs["a"].Envs) != 2 {
		t.Errorf("%+v, %+v", c, items)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, c, items, func(*Item) {}); !errors.Is(err, context.Canceled) || len(c.made) != 2 {
		t.Errorf("%v, %v", c.made, err)
	}
}

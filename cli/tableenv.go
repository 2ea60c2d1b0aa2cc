package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/client"
	"pegasus/gen/layer2"
)

type settingJSON struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Limits  string `json:"limits,omitempty"`
	Sample  string `json:"sample,omitempty"`
	Effect  string `json:"effect"`
	Purpose string `json:"purpose"`
}

// TableEnvs are the commands about settings of tables.
type TableEnvs struct{ *Env }

// Help explains the settings whose names begin with a text: "" is all of them.
func (e TableEnvs) Help(prefix string) error {
	all := appenv.All()
	var list []settingJSON
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if i := all[name]; strings.HasPrefix(name, prefix) {
			list = append(list, settingJSON{name, i.Type, i.Limitation, i.Sample, string(i.Effect), i.Help})
		}
	}
	if len(list) == 0 {
		return fmt.Errorf("no table setting starts with %q; `pegasus table env help` lists them", prefix)
	}
	if e.JSON {
		return e.json(list)
	}
	for i, s := range list {
		if i > 0 {
			fmt.Fprintln(e.Out)
		}
		fmt.Fprintf(e.Out, "%s\n    %s\n    takes %s", s.Name, s.Purpose, s.Type)
		if s.Limits != "" {
			fmt.Fprintf(e.Out, ": %s", s.Limits)
		}
		if s.Sample != "" {
			fmt.Fprintf(e.Out, ", for example %s", s.Sample)
		}
		if _, err := fmt.Fprintf(e.Out, "\n    effect: %s\n", s.Effect); err != nil {
			return err
		}
	}
	return nil
}

// List shows the settings that a table has.
func (e TableEnvs) List(ctx context.Context, table string) error {
	infos, err := e.Client.Admin().ListTables(ctx, layer2.AS_AVAILABLE)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(infos, func(a layer2.AppInfo) bool { return a.AppName == table })
	if i < 0 {
		return fmt.Errorf("table %q doesn't exist: `pegasus table ls` lists them", table)
	}
	t := describe(&infos[i])
	envs := t.Envs
	if e.JSON {
		return e.json(envs)
	}
	g := newGrid("name", "value", "effect")
	for _, name := range slices.Sorted(maps.Keys(envs)) {
		d, _ := appenv.Describe(name)
		effect := string(d.Effect)
		if hint := t.Invalid[name]; hint != "" {
			effect = "invalid, ignored: " + Escape([]byte(hint))
		}
		g.add(Escape([]byte(name)), Escape([]byte(envs[name])), effect)
	}
	return g.print(e.Out)
}

// sayInvalid names the settings that the servers ignore.
func sayInvalid(e *Env, t *tableJSON) {
	for _, name := range slices.Sorted(maps.Keys(t.Invalid)) {
		fmt.Fprintf(e.Out, "the setting %s is invalid, and ignored: %s; `pegasus table env del %s %s` deletes it\n",
			Escape([]byte(name)), Escape([]byte(t.Invalid[name])), Escape([]byte(t.Name)), Escape([]byte(name)))
	}
}

// Set sets settings of a table, each KEY=VALUE.
func (e TableEnvs) Set(ctx context.Context, table string, pairs []string) error {
	var envs []base.Pair[string, string]
	for _, kv := range pairs {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return fmt.Errorf("%q: write NAME=VALUE", kv)
		}
		envs = append(envs, base.Pair[string, string]{Key: k, Val: v})
	}
	if e.DryRun {
		return e.wouldSet(ctx, table, envs)
	}
	if err := e.Client.Admin().SetEnvs(ctx, table, envs); err != nil {
		return err
	}
	return e.print(map[string]any{"name": table, "set": len(envs)}, "table %s: %d settings set", Escape([]byte(table)), len(envs))
}

// wouldSet says what settings of a table would become of what.
func (e TableEnvs) wouldSet(ctx context.Context, table string, envs []base.Pair[string, string]) error {
	t, err := e.tableNamed(ctx, table)
	if err != nil {
		return err
	}
	type change struct {
		Name   string  `json:"name"`
		Was    *string `json:"was"`   // null: it isn't set
		Value  *string `json:"value"` // null: it is deleted
		DryRun bool    `json:"dry_run"`
	}
	list := []change{}
	g := newGrid("name", "now", "would be")
	for _, kv := range envs {
		c := change{Name: kv.Key, DryRun: true}
		if kv.Val != deleted {
			if hint := appenv.Check(kv.Key, kv.Val); hint != "" {
				return &client.SettingError{Name: kv.Key, Hint: hint}
			}
			c.Value = &kv.Val
		}
		for _, have := range t.Envs {
			if have.Key == kv.Key {
				c.Was = &have.Val
			}
		}
		show := func(v *string) string {
			if v == nil {
				return "-"
			}
			return Escape([]byte(*v))
		}
		list = append(list, c)
		g.add(c.Name, show(c.Was), show(c.Value))
	}
	if e.JSON {
		return e.json(list)
	}
	return g.print(e.Out)
}

// deleted is the value of a setting that is to be deleted, in wouldSet. No value of a setting has a zero byte.
const deleted = "\x00"

// Del deletes settings of a table.
func (e TableEnvs) Del(ctx context.Context, table string, keys []string) error {
	if e.DryRun {
		var envs []base.Pair[string, string]
		for _, k := range keys {
			envs = append(envs, base.Pair[string, string]{Key: k, Val: deleted})
		}
		return e.wouldSet(ctx, table, envs)
	}
	if err := e.Client.Admin().DelEnvs(ctx, table, keys); err != nil {
		return err
	}
	return e.print(map[string]any{"name": table, "deleted": keys}, "table %s: %s deleted", Escape([]byte(table)), strings.Join(keys, ", "))
}

// adviseSetting is for a setting that the meta refused.
func adviseSetting(e *client.AdminError) string {
	if e.Code == base.ErrInvalidParameters && strings.HasPrefix(e.Op, "set envs") {
		return "`pegasus table env help NAME` explains a setting"
	}
	return ""
}

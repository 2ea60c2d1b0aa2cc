package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/client"
	"pegasus/gen/layer2"
)

// completionTime bounds what a shell waits for while somebody types.
const completionTime = time.Second

// addCompletion has arguments completed by what a command's usage calls them.
func addCompletion(c *cobra.Command) {
	for _, s := range c.Commands() {
		addCompletion(s)
	}
	if c.ValidArgs != nil || c.ValidArgsFunction != nil || !c.Runnable() {
		return
	}
	words := strings.Fields(c.Use)[1:]
	if len(words) == 0 {
		return
	}
	path := c.CommandPath()
	c.ValidArgsFunction = func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		w := words[min(len(args), len(words)-1)]
		if len(args) >= len(words) && !strings.HasSuffix(w, "...") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		kind := strings.Trim(strings.TrimSuffix(w, "..."), "[].")
		var list []string
		switch {
		case strings.HasPrefix(path, "pegasus table env") && strings.HasPrefix(kind, "NAME"):
			list = slices.Sorted(maps.Keys(appenv.All()))
			if kind == "NAME=VALUE" {
				for i := range list {
					list[i] += "="
				}
				return begins(list, typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
			}
		case strings.HasPrefix(path, "pegasus server config") && kind == "NAME":
			for _, e := range configEntries() {
				list = append(list, e.Path())
			}
		case strings.HasPrefix(path, "pegasus table create"):
			return nil, cobra.ShellCompDirectiveNoFileComp
		case kind == "TABLE" || strings.HasPrefix(kind, "TABLE[") || kind == "NAME" && strings.HasPrefix(path, "pegasus table"):
			list = asked(c, tableNames)
		case kind == "HOST:PORT":
			list = asked(c, serverNames)
		case strings.Contains(kind, "FILE") || strings.Contains(kind, "DIR"):
			return nil, cobra.ShellCompDirectiveDefault
		case strings.Contains(w, "|"): // a choice
			list = strings.Split(kind, "|")
		}
		return begins(list, typed), cobra.ShellCompDirectiveNoFileComp
	}
}

func configEntries() []config.Entry {
	cfg := config.Default()
	return cfg.Entries()
}

func begins(list []string, typed string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, typed) })
}

// asked asks the cluster of a command's flags.
func asked(c *cobra.Command, what func(context.Context, client.Admin) []string) []string {
	metas := splitList(defaultMetas())
	if f := c.Flag("meta"); f != nil {
		if list, err := c.Flags().GetStringSlice("meta"); err == nil {
			metas = list
		}
	}
	if len(metas) == 0 || checkAddrs("meta", metas) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	k := client.New(metas, client.Options{Timeout: completionTime})
	defer k.Close()
	return what(ctx, k.Admin())
}

func tableNames(ctx context.Context, a client.Admin) (names []string) {
	infos, _ := a.ListTables(ctx, layer2.AS_AVAILABLE)
	for i := range infos {
		names = append(names, infos[i].AppName)
	}
	return names
}

func serverNames(ctx context.Context, a client.Admin) (names []string) {
	nodes, _ := a.ListNodes(ctx)
	for _, n := range nodes {
		names = append(names, n.Addr.String())
	}
	return names
}

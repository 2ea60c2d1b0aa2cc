package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command in docs/migrating.md is one of this program, with its flags.
func TestCommandsOfMigrating(t *testing.T) {
	b, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, line := range strings.Split(string(b), "\n") {
		var commands []string
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "pegasus "); ok && strings.HasPrefix(line, "    ") {
			commands = append(commands, "pegasus "+rest)
		}
		for _, m := range regexp.MustCompile("`(pegasus [^`]*)`").FindAllStringSubmatch(line, -1) {
			commands = append(commands, m[1])
		}
		for _, text := range commands {
			text, _, _ = strings.Cut(text, " #")
			if what := badCommand(strings.Fields(text)[1:]); what != "" {
				t.Errorf("line %d: %s: %s", i+1, text, what)
			}
			n++
		}
	}
	if n < 5 {
		t.Errorf("only %d commands were found", n)
	}
	for _, bad := range []string{"nothing", "config nothing", "config import --nothing"} {
		if badCommand(strings.Fields(bad)) == "" {
			t.Errorf("%q passes", bad)
		}
	}
}

// What the tools of C++ Pegasus can do: the commands of its shell, and those of admin-cli 2.5.
var (
	shellCommands = strings.Fields(`help version exit cluster_info app app_disk ls nodes create drop recall rename set_meta_level get_meta_level balance propose use cc
		escape_all timeout hash set get del multi_set multi_get multi_get_range multi_get_sortkeys multi_del multi_del_range incr check_and_set check_and_mutate exist count ttl
		hash_scan full_scan copy_data clear_data count_data remote_command server_info server_stat app_stat flush_log rdb_key_str2hex rdb_key_hex2str rdb_value_hex2str recover
		get_app_envs set_app_envs del_app_envs clear_app_envs ddd_diagnose detect_hotkey get_replica_count set_replica_count
		get_atomic_idempotent enable_atomic_idempotent disable_atomic_idempotent
		add_backup_policy ls_backup_policy query_backup_policy modify_backup_policy enable_backup_policy disable_backup_policy restore_app query_restore_status
		add_dup query_dup dups remove_dup start_dup pause_dup set_dup_fail_mode
		start_bulk_load query_bulk_load_status pause_bulk_load restart_bulk_load cancel_bulk_load clear_bulk_load local_get sst_dump mlog_dump local_partition_split`)
	adminCommands = strings.Fields(`cluster-info nodes list-tables create drop recall table-partitions table-env manual-compaction add-compaction-operation meta-level disk-capacity
		disk-replica nodes-migrator remote-command server-config server-info data-version use node-stat table-stat partition-stat backup query-backup-status restore bulk-load
		duplication disk-migrate disk-balance add-disk partition-split nodes-balancer table-migrator`)
)

// Each command of the tools of C++ Pegasus has one here, which docs/migrating.md names, and which TestCommandsOfMigrating checks.
func TestCommandsOfOtherTools(t *testing.T) {
	b, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), "\n## Commands\n")
	text, _, ends := strings.Cut(text, "\n## ")
	if !found || !ends {
		t.Fatal("there is no section Commands")
	}
	var named [2][]string
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.Contains(cells[0]+cells[1], "`") {
			continue
		}
		if !strings.Contains(cells[2], "`pegasus ") && !strings.Contains(cells[2], "`--") {
			t.Errorf("no command of ours: %s", line)
		}
		for i := range named {
			for _, m := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(cells[i], -1) {
				named[i] = append(named[i], m[1])
			}
		}
	}
	for i, want := range [][]string{shellCommands, adminCommands} {
		got := slices.Sorted(slices.Values(named[i]))
		if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
			t.Errorf("named are %q\nand there are %q", got, want)
		}
	}
	if len(shellCommands) != 86 || len(adminCommands) != 33 {
		t.Errorf("%d and %d commands", len(shellCommands), len(adminCommands))
	}
}

// badCommand says what is wrong with a command line.
func badCommand(args []string) string {
	c, rest, err := newRoot().Find(args)
	if err != nil {
		return err.Error()
	}
	if c.HasSubCommands() && c.Args == nil && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return "there is no " + rest[0]
	}
	for _, a := range rest {
		name, _, _ := strings.Cut(a, "=")
		switch {
		case strings.HasPrefix(name, "--") && !known(c, strings.TrimPrefix(name, "--")):
			return "there is no flag " + name
		case strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "--") && len(name) == 2 && c.Flags().ShorthandLookup(name[1:]) == nil && c.InheritedFlags().ShorthandLookup(name[1:]) == nil:
			return "there is no flag " + name
		}
	}
	return ""
}

func known(c *cobra.Command, flag string) bool {
	return flag == "help" || c.Flags().Lookup(flag) != nil || c.InheritedFlags().Lookup(flag) != nil
}

package appenv

import (
	"slices"
	"strconv"
	"strings"

	"pegasus/base"
)

// restorePrefix begins the settings of a table that was made of a cold backup. They say of which. The metas
// set them, and nobody changes them.
const restorePrefix = "restore."

// The settings' names.
const (
	restoreProvider = restorePrefix + "block_service_provider"
	restoreCluster  = restorePrefix + "cluster_name"
	restorePolicy   = restorePrefix + "policy_name"
	restoreApp      = restorePrefix + "app_name"
	restoreAppID    = restorePrefix + "app_id"
	restoreBackupID = restorePrefix + "backup_id"
	restoreSkipBad  = restorePrefix + "skip_bad_partition"
	restorePath     = restorePrefix + "restore_path"
)

// Restore says of which backup a table is made: table App (its id AppID) in [Path/]Cluster[/Policy]/BackupID of
// the blob store Provider.
type Restore struct {
	Provider, Cluster, Policy, App string
	AppID                          int32
	BackupID                       int64
	SkipBad                        bool // a partition whose backup is bad is left empty
	Path                           base.Opt[string]
}

// Envs returns the settings, in the order of their names. Sources: src/meta/server_state_restore.cpp.
func (r *Restore) Envs() []base.Pair[string, string] {
	list := []base.Pair[string, string]{
		{Key: restoreAppID, Val: strconv.Itoa(int(r.AppID))}, {Key: restoreApp, Val: r.App}, {Key: restoreBackupID, Val: strconv.FormatInt(r.BackupID, 10)},
		{Key: restoreProvider, Val: r.Provider}, {Key: restoreCluster, Val: r.Cluster}, {Key: restorePolicy, Val: r.Policy},
	}
	if r.Path.Set {
		list = append(list, base.Pair[string, string]{Key: restorePath, Val: r.Path.V})
	}
	if r.SkipBad {
		list = append(list, base.Pair[string, string]{Key: restoreSkipBad, Val: "true"})
	}
	return list
}

// RestoreOf reads the settings of a table. ok is false for one that wasn't made of a backup.
func RestoreOf(envs map[string]string) (r Restore, ok bool) {
	provider, ok := envs[restoreProvider]
	if !ok {
		return Restore{}, false
	}
	id, err := strconv.ParseInt(envs[restoreBackupID], 10, 64)
	app, err2 := strconv.ParseInt(envs[restoreAppID], 10, 32)
	if err != nil || err2 != nil {
		return Restore{}, false
	}
	r = Restore{Provider: provider, Cluster: envs[restoreCluster], Policy: envs[restorePolicy], App: envs[restoreApp], AppID: int32(app), BackupID: id,
		SkipBad: envs[restoreSkipBad] == "true"}
	r.Path.V, r.Path.Set = envs[restorePath]
	return r, true
}

// WithoutRestore returns the settings without those that say of which backup the table is made.
func WithoutRestore(envs []base.Pair[string, string]) []base.Pair[string, string] {
	return slices.DeleteFunc(slices.Clone(envs), func(e base.Pair[string, string]) bool { return strings.HasPrefix(e.Key, restorePrefix) })
}

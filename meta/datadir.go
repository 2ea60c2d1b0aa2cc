package meta

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ownerFile says whose a data directory is. It is written before anything else.
const ownerFile = "owner.json"

type owner struct {
	Cluster string `json:"cluster"`
	Server  string `json:"server"`
	// Quorum is State.Quorum, "" as long as this server hasn't learned it.
	Quorum string `json:"quorum,omitempty"`
}

// Begun tells whether a directory has been the data directory of a meta server, whose log says who the
// members of its quorum are.
func Begun(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, logFile))
	return err == nil
}

// logFile is the raft log.
const logFile = "raft.db"

// eventsFile has what happened lately, see package events.
const eventsFile = "events.jsonl"

// readOwner says whose dir is; found is false if it is nobody's yet.
func readOwner(dir string) (o owner, found bool, err error) {
	path := filepath.Join(dir, ownerFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(dir); err != nil {
			return o, false, mkdirError(dir, err)
		}
		return o, false, nil
	}
	if err != nil {
		return o, false, fmt.Errorf("meta.data_dir: %w", err)
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, false, fmt.Errorf("meta.data_dir: %s is damaged: %w", path, err)
	}
	return o, true, nil
}

// claimDir makes dir the data directory of a server, or checks that it is. It returns the
// identity of the quorum whose data it holds, "" if there is none.
func claimDir(dir, cluster, server string) (quorum string, err error) {
	o, found, err := readOwner(dir)
	if err != nil {
		return "", err
	}
	if !found {
		return "", writeOwner(dir, owner{Cluster: cluster, Server: server})
	}
	switch {
	case o.Cluster != cluster:
		return "", fmt.Errorf("meta.data_dir %q holds the data of cluster %q, but cluster.name is %q: use another directory, or correct the name", dir, o.Cluster, cluster)
	case o.Server != server:
		return "", fmt.Errorf("meta.data_dir %q holds the data of meta server %s, but this one is known by %s (meta.advertise, or meta.listen): a meta server keeps its address for life", dir, o.Server, server)
	}
	return o.Quorum, nil
}

// writeOwner makes the file durable before it returns.
func writeOwner(dir string, o owner) error {
	path := filepath.Join(dir, ownerFile)
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ownerFile+".*")
	if err != nil {
		return fmt.Errorf("meta.data_dir: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("meta.data_dir: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("meta.data_dir: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

func mkdirError(dir string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("meta.data_dir %q doesn't exist: make it (mkdir -p %s) or mount its disk", dir, dir)
	}
	return fmt.Errorf("meta.data_dir %q: %w", dir, err)
}

package blob

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"pegasus/base/config"
)

// Opener makes a driver of what the configuration says. It doesn't have to reach the place.
type Opener func(ctx context.Context, c config.Blob) (Driver, error)

// Set is the stores of a configuration, by name.
type Set struct {
	configs map[string]config.Blob
	openers map[string]Opener // by type
	options func(name string, c config.Blob) Options

	mu   sync.Mutex
	open map[string]*Store
}

// NewSet makes a set of stores that are opened when they are first used.
func NewSet(configs map[string]config.Blob, openers map[string]Opener, options func(name string, c config.Blob) Options) *Set {
	return &Set{configs: configs, openers: openers, options: options, open: map[string]*Store{}}
}

// Names lists the stores.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.configs)) }

// Get returns the store of a name: ErrNotFound if the configuration has none.
func (s *Set) Get(ctx context.Context, name string) (*Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.open[name]; st != nil {
		return st, nil
	}
	c, there := s.configs[name]
	if !there {
		known := "it has none"
		if len(s.configs) > 0 {
			known = "it has " + strings.Join(s.Names(), ", ")
		}
		return nil, Failf(ErrNotFound, "the configuration has no blob store %q (%s); add [blob.%s] to the file", name, known, name)
	}
	st, err := s.make(ctx, name, c)
	if err == nil {
		s.open[name] = st
	}
	return st, err
}

// Make opens a store that the configuration doesn't have. The caller closes it.
func (s *Set) Make(ctx context.Context, name string, c config.Blob) (*Store, error) {
	return s.make(ctx, name, c)
}

func (s *Set) make(ctx context.Context, name string, c config.Blob) (*Store, error) {
	open := s.openers[c.Type]
	if open == nil {
		return nil, Failf(ErrInvalid, "blob.%s.type: %q is no kind of blob store; write one of %s", name, c.Type,
			strings.Join(slices.Sorted(maps.Keys(s.openers)), ", "))
	}
	d, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("blob.%s: %w", name, err)
	}
	return NewStore(name, d, s.options(name, c)), nil
}

// Close closes the stores.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.open {
		st.Close()
	}
	clear(s.open)
}

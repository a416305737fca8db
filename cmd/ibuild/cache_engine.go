package main

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/moby/buildkit/client"
)

// engineKind is a kind of what the in-process engine keeps, and what BuildKit calls it.
type engineKind struct {
	kind  cache.Kind
	types []client.UsageRecordType
}

func engineKinds() []engineKind {
	return []engineKind{
		{"snapshots", []client.UsageRecordType{client.UsageRecordTypeRegular, client.UsageRecordTypeInternal, client.UsageRecordTypeFrontend}},
		{"mounts", []client.UsageRecordType{client.UsageRecordTypeCacheMount}},
		{"sources", []client.UsageRecordType{client.UsageRecordTypeLocalSource, client.UsageRecordTypeGitCheckout}},
	}
}

// engineState is what the in-process engine keeps, opened; or why it is not.
type engineState struct {
	root   string
	engine *embed.Engine // nil when there is nothing, or it cannot be opened
	locked *embed.LockedError
	usage  []*client.UsageInfo
}

// openState opens the engine's state, if there is any and kinds has one of its own. A state that another process
// uses is no error. Whoever opens it closes it.
func (h *house) openState(ctx context.Context, kinds []cache.Kind) (*engineState, error) {
	s := &engineState{root: h.embed.Root}
	var err error
	if s.root == "" {
		if s.root, err = embed.DefaultRoot(); err != nil {
			return nil, err
		}
	}
	if len(kinds) > 0 && len(engineTypes(kinds)) == 0 {
		return s, nil
	}
	if _, err := os.Stat(s.root); errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if s.engine, err = embed.Start(ctx, h.embed); err != nil {
		if errors.As(err, &s.locked) {
			return s, nil
		}
		return nil, err
	}
	if s.usage, err = s.engine.DiskUsage(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *engineState) close() {
	if s.engine != nil {
		_ = s.engine.Close() // what it says is about builds
	}
}

// sayLocked says that the engine's part is left out.
func (s *engineState) sayLocked(mode string) {
	if s.locked != nil {
		say(mode, "note: %v, so it is left out; try again when that has ended", s.locked)
	}
}

// items lists the engine's state in the form of the cache's.
func (s *engineState) items() (list []cache.Item) {
	for _, u := range s.usage {
		list = append(list, engineItem(u))
	}
	return list
}

func engineItem(u *client.UsageInfo) cache.Item {
	i := cache.Item{Kind: "snapshots", Name: u.ID, Text: flat(u.Description), Size: u.Size, Used: u.CreatedAt, InUse: u.InUse}
	for _, k := range engineKinds() {
		if slices.Contains(k.types, u.RecordType) {
			i.Kind = k.kind
		}
	}
	if u.LastUsedAt != nil {
		i.Used = *u.LastUsedAt
	}
	return i
}

// engineTypes are BuildKit's words for kinds.
func engineTypes(kinds []cache.Kind) (types []client.UsageRecordType) {
	for _, k := range engineKinds() {
		if slices.Contains(kinds, k.kind) {
			types = append(types, k.types...)
		}
	}
	return types
}

// enginePrune is what may go, in the engine's terms.
func enginePrune(o cache.PruneOptions) embed.PruneOptions {
	return embed.PruneOptions{All: o.All, OlderThan: o.OlderThan, KeepSize: o.KeepSize, Types: engineTypes(o.Kinds)}
}

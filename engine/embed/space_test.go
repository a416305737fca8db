package embed

import (
	"slices"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
)

func TestPrunable(t *testing.T) {
	now := time.Now()
	record := func(id string, kind client.UsageRecordType, size int64, age time.Duration) *client.UsageInfo {
		at := now.Add(-age)
		return &client.UsageInfo{ID: id, RecordType: kind, Size: size, LastUsedAt: &at}
	}
	inUse := record("in use", client.UsageRecordTypeRegular, 100, 100*time.Hour)
	inUse.InUse = true
	shared := record("shared", client.UsageRecordTypeRegular, 1000, 100*time.Hour)
	shared.Shared = true
	never := &client.UsageInfo{ID: "never", RecordType: client.UsageRecordTypeRegular, Size: 10}
	list := []*client.UsageInfo{
		inUse, shared, record("new", client.UsageRecordTypeRegular, 50, time.Minute), record("old", client.UsageRecordTypeRegular, 40, 50*time.Hour),
		record("mount", client.UsageRecordTypeCacheMount, 30, 20*time.Hour), record("internal", client.UsageRecordTypeInternal, 20, 30*time.Hour), never,
	}
	for _, c := range []struct {
		name string
		opts PruneOptions
		want []string
	}{
		{"default", PruneOptions{}, []string{"never", "old", "mount", "new"}},
		{"all", PruneOptions{All: true}, []string{"never", "shared", "old", "internal", "mount", "new"}},
		{"old", PruneOptions{OlderThan: 40 * time.Hour}, []string{"never", "old"}},
		{"mounts", PruneOptions{Types: []client.UsageRecordType{client.UsageRecordTypeCacheMount}}, []string{"mount"}},
		{"size", PruneOptions{KeepSize: 230}, []string{"never", "old"}}, // of 250 that are not shared
		{"fits", PruneOptions{KeepSize: 1000}, nil},
	} {
		var got []string
		for _, u := range c.opts.Prunable(list, now) {
			got = append(got, u.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

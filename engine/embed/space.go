package embed

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/moby/buildkit/client"
	"golang.org/x/sync/errgroup"
)

// PruneOptions say what of the engine's state may go. What a build needs at this moment never does.
type PruneOptions struct {
	// All removes everything, also what BuildKit keeps for itself.
	All bool
	// OlderThan removes what was not used for this long only; 0 means any age.
	OlderThan time.Duration
	// KeepSize, in bytes, ends the removal when no more is left; 0 means not to.
	KeepSize int64
	// Types are the only ones that go; none means all.
	Types []client.UsageRecordType
}

// DiskUsage lists what the engine keeps, with sizes in bytes. What was not measured yet is measured now, which
// may take some seconds after a large build.
func (e *Engine) DiskUsage(ctx context.Context) ([]*client.UsageInfo, error) {
	c, err := e.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.DiskUsage(ctx)
}

// Prune removes what the options allow and returns what is gone, also beside an error.
func (e *Engine) Prune(ctx context.Context, opts PruneOptions) (gone []client.UsageInfo, err error) {
	c, err := e.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	removed := make(chan client.UsageInfo)
	var eg errgroup.Group
	eg.Go(func() error {
		defer close(removed)
		return c.Prune(ctx, removed, pruneOption(opts))
	})
	for u := range removed {
		gone = append(gone, u)
	}
	return gone, eg.Wait()
}

// pruneOption is PruneOptions in BuildKit's terms.
type pruneOption PruneOptions

// SetPruneOption implements client.PruneOption.
func (o pruneOption) SetPruneOption(info *client.PruneInfo) {
	info.All, info.KeepDuration, info.MaxUsedSpace = o.All, o.OlderThan, o.KeepSize
	for _, t := range o.Types {
		info.Filter = append(info.Filter, "type=="+string(t))
	}
}

// Prunable picks from a list of [Engine.DiskUsage] what [Engine.Prune] would remove, as far as that can be told
// before: BuildKit keeps what is below a record that stays.
func (o PruneOptions) Prunable(list []*client.UsageInfo, now time.Time) (gone []client.UsageInfo) {
	var total int64
	var rest []*client.UsageInfo
	for _, u := range list {
		if !u.Shared {
			total += u.Size
		}
		internal := u.Shared || u.RecordType == client.UsageRecordTypeInternal || u.RecordType == client.UsageRecordTypeFrontend
		young := o.OlderThan > 0 && u.LastUsedAt != nil && now.Sub(*u.LastUsedAt) < o.OlderThan
		if !u.InUse && !young && (o.All || !internal) && (len(o.Types) == 0 || slices.Contains(o.Types, u.RecordType)) {
			rest = append(rest, u)
		}
	}
	slices.SortStableFunc(rest, func(a, b *client.UsageInfo) int {
		return cmp.Or(lastUse(a).Compare(lastUse(b)), cmp.Compare(a.ID, b.ID))
	})
	for _, u := range rest {
		if o.KeepSize > 0 && total < o.KeepSize {
			break
		}
		gone, total = append(gone, *u), total-u.Size
	}
	return gone
}

func lastUse(u *client.UsageInfo) time.Time {
	if u.LastUsedAt == nil {
		return time.Time{}
	}
	return *u.LastUsedAt
}

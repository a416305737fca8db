package cache

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// PruneOptions say what may go. Leftovers always may; what a living process needs never does.
type PruneOptions struct {
	// All removes everything.
	All bool
	// OlderThan removes what was not used for this long; 0 does not. What has no known time stays.
	OlderThan time.Duration
	// KeepSize, in bytes, removes what is least useful until no more is left of the whole cache; 0 does not. With
	// OlderThan only what is that old goes.
	KeepSize int64
	// Kinds are the only ones that go; none means all.
	Kinds []Kind
	// DryRun removes nothing.
	DryRun bool
}

// Prune removes items and returns those that are gone, or with DryRun, that would be. Records that name blobs which
// are gone stay: they are no hit any more. An error says that something stays; the items are right all the same.
func (s *Store) Prune(opts PruneOptions) ([]Item, error) {
	items, err := s.Items()
	if err != nil {
		return nil, err
	}
	chosen := opts.choose(items, time.Now())
	if opts.DryRun || len(chosen) == 0 {
		return chosen, nil
	}
	// Files first: on a full disk they make room for the new index.
	files, err := s.removeFiles(chosen)
	drop := map[string]bool{}
	for _, i := range chosen {
		if i.record != "" {
			drop[i.record] = true
		}
	}
	if rerr := s.removeRecords(drop); rerr != nil {
		return files, errors.Join(err, rerr)
	}
	return append(files, slices.DeleteFunc(chosen, func(i Item) bool { return i.record == "" })...), err
}

// choose picks the items that go.
func (o PruneOptions) choose(items []Item, now time.Time) (chosen []Item) {
	var total int64
	var rest []Item
	for _, i := range items {
		total += i.Size
		switch {
		case i.InUse || i.Kind == KindIndex || len(o.Kinds) > 0 && !slices.Contains(o.Kinds, i.Kind):
		case i.Kind == KindLeftovers:
			chosen, total = append(chosen, i), total-i.Size
		case o.OlderThan > 0 && !o.All && (i.Used.IsZero() || now.Sub(i.Used) <= o.OlderThan):
		default:
			rest = append(rest, i)
		}
	}
	switch {
	case o.All, o.OlderThan > 0 && o.KeepSize == 0:
		return append(chosen, rest...)
	case o.KeepSize == 0:
		return chosen
	}
	slices.SortStableFunc(rest, func(a, b Item) int { return cmp.Compare(b.uselessness(now), a.uselessness(now)) })
	for _, i := range rest {
		if total <= o.KeepSize {
			break
		}
		chosen, total = append(chosen, i), total-i.Size
	}
	return chosen
}

func (i Item) uselessness(now time.Time) float64 {
	if i.Used.IsZero() {
		return 0
	}
	return storedBlob{size: i.Size, used: i.Used}.uselessness(now)
}

// removeFiles removes the items that are files, but for blobs that a process has come to need meanwhile.
func (s *Store) removeFiles(chosen []Item) (gone []Item, err error) {
	gate, err := openGate(s.dir, s.lockTimeout)
	if err != nil {
		return nil, err
	}
	defer gate.close()
	const batch = 100 // files that are removed while builds wait for the gate
	for part := range slices.Chunk(slices.DeleteFunc(slices.Clone(chosen), func(i Item) bool { return i.path == "" }), batch) {
		err := gate.locked(unix.LOCK_EX, func() error {
			c, err := gate.living()
			if err != nil {
				return err
			}
			for _, i := range part {
				if i.needed(c) {
					continue
				}
				if rerr := os.RemoveAll(i.path); rerr != nil {
					err = errors.Join(err, rerr)
					continue
				}
				gone = append(gone, i)
			}
			return err
		})
		if err != nil {
			return gone, err
		}
	}
	return gone, s.recount(gate)
}

// needed says whether a living process needs the item.
func (i Item) needed(c claims) bool {
	if i.Kind == KindBlobs {
		return c.used[i.digest] != nil
	}
	for folder := range c.writes {
		if i.Name == "ingest/"+folder || i.Name == folder {
			return true
		}
	}
	return false
}

// recount sets the sum of what is used to what is there.
func (s *Store) recount(gate *lease) error {
	return gate.locked(unix.LOCK_EX, func() error {
		c, err := gate.living()
		if err != nil {
			return err
		}
		used, err := s.measure(c)
		if err != nil {
			return err
		}
		gate.recounted = time.Now()
		gate.writeUsed(used)
		return nil
	})
}

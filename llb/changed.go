package llb

import (
	"context"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
)

// Changed names the files that are not what they were when the recording's identity was made: those that are new,
// gone, of another kind or mode, and those that were written to since. They are sorted, as slash-separated paths of
// their folders, and none is read. The recording has to be that of a plan with sums (see [Plan.WithSums]).
func (r *Recording) Changed(ctx context.Context) ([]string, error) {
	images, err := r.parse()
	if err != nil {
		return nil, err
	}
	found, err := eachLocal(ctx, images, r.locals, func(ctx context.Context, s *localSource) ([]string, error) { return s.changed(ctx) })
	if err != nil {
		return nil, err
	}
	all := slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Values(found))...)))
	return slices.Compact(all), nil
}

// changed compares what was listed of the source with what is there.
func (s *localSource) changed(ctx context.Context) ([]string, error) {
	if s.local.Files != nil {
		return nil, nil // nobody changes what is in memory
	}
	then, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	now, _, err := s.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	gone := make(map[string]LocalFile, len(then.files))
	for _, f := range then.files {
		gone[f.Path] = f
	}
	var list []string
	for f := range now.all() {
		p := filepath.ToSlash(f.path)
		old, listed := gone[p]
		delete(gone, p)
		if !listed || s.differs(old, f) {
			list = append(list, p)
		}
	}
	return append(list, slices.Collect(maps.Keys(gone))...), nil
}

// differs says whether a file that was listed is another one now, going by what can be seen without reading it.
func (s *localSource) differs(old LocalFile, f *seenFile) bool {
	mode := uint32(f.mode)
	if s.local.PlainModes {
		mode = plainMode(f.mode)
	}
	switch {
	case old.Mode != fs.FileMode(mode):
		return true
	case f.mode&fs.ModeSymlink != 0:
		return old.Linkname != f.link
	case !f.mode.IsRegular():
		return false // a folder's time changes with what is in it
	}
	sum, known := s.local.withSums().sums.get(f.path)
	return known && sum.key != f.key
}

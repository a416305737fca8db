package anatomy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// group is the layers of one step. There is more than one where big files got layers of their own.
type group []Layer

// step is what the history says of the group.
func (g group) step() string { return g[len(g)-1].Step }

func (g group) diffIDs() []digest.Digest {
	var list []digest.Digest
	for _, l := range g {
		list = append(list, l.DiffID)
	}
	return list
}

func (g group) same(o group) bool { return slices.Equal(g.diffIDs(), o.diffIDs()) }

// groups puts the layers of a step together: those of its big files come before it, named after it and the file.
func groups(layers []Layer) []group {
	var list []group
	for i := 0; i < len(layers); {
		end := i + 1
		for end < len(layers) && partOf(layers[end-1].Step, layers[end].Step) {
			end++
		}
		list = append(list, layers[i:end])
		i = end
	}
	return list
}

// partOf says whether a layer is a big file of a step, by the name of the layer after it: that of the step itself,
// or of another big file of it.
func partOf(layer, next string) bool {
	i := strings.LastIndex(layer, " (")
	if i <= 0 || !strings.HasSuffix(layer, ")") {
		return false
	}
	return next == layer[:i] || strings.HasPrefix(next, layer[:i]+" (")
}

// pair is the layers of a step on both sides; nil for none.
type pair struct{ old, now group }

// pairUp finds the layers that stand for the same step. Where both images have as many steps, that is by their
// places: steps in the same order made them. Else it is by bytes and by the names of steps.
func pairUp(old, now []group) []pair {
	var list []pair
	if len(old) == len(now) {
		for i := range old {
			list = append(list, pair{old[i], now[i]})
		}
		return list
	}
	next := 0
	missing := func(end int) {
		for ; next < end; next++ {
			list = append(list, pair{old[next], nil})
		}
	}
	for _, g := range now {
		at := slices.IndexFunc(old[next:], func(o group) bool { return o.same(g) || o.step() != "" && o.step() == g.step() })
		if at < 0 {
			list = append(list, pair{nil, g})
			continue
		}
		missing(next + at)
		list = append(list, pair{old[next], g})
		next++
	}
	missing(len(old))
	return list
}

func (c *comparison) layers(ctx context.Context, p pair) (LayerReport, error) {
	switch {
	case p.old == nil:
		return LayerReport{Step: p.now.step(), Verdict: Only, New: p.now.diffIDs(), Reason: "the old image has no such layer"}, nil
	case p.now == nil:
		return LayerReport{Step: p.old.step(), Verdict: Only, Old: p.old.diffIDs(), Reason: "the new image has no such layer"}, nil
	}
	r := LayerReport{Step: cmp.Or(p.now.step(), p.old.step()), Verdict: Same, Old: p.old.diffIDs(), New: p.now.diffIDs()}
	if p.old.same(p.now) {
		return r, nil
	}
	before, err := tree(ctx, c.old, p.old)
	if err == nil {
		var after map[string]entry
		if after, err = tree(ctx, c.now, p.now); err == nil {
			c.files(&r, before, after)
			return r, nil
		}
	}
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	r.Verdict, r.Reason = Unknown, err.Error()
	return r, nil
}

// tree reads the files of all layers of a step; those of later layers count.
func tree(ctx context.Context, src Source, g group) (map[string]entry, error) {
	all := map[string]entry{}
	for _, l := range g {
		one, err := layerTree(ctx, src, l)
		if err != nil {
			return nil, fmt.Errorf("the layer in %s: %w", src.Name(), err)
		}
		maps.Copy(all, one)
	}
	return all, nil
}

func layerTree(ctx context.Context, src Source, l Layer) (map[string]entry, error) {
	rc, err := src.Open(ctx, l.Desc, 0)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return readTree(ctx, rc)
}

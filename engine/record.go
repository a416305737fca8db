package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/llb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// watch follows the steps of this build, so that they can be recorded, and looks up the record before it. Its own
// statuses go on to the engine's progress: several builds may share that one.
func (b *build) watch() {
	b.began = time.Now()
	b.seen = journal.NewSteps(b.began)
	own := *b.Engine
	own.Progress = b.Progress.watched(b.seen.See)
	b.Engine = &own
	if list := journal.Open(b.Cache).Builds(b.req.RecordName(), 1); len(list) > 0 {
		b.last = &list[0]
	}
}

// writeRecord puts the build into the journal, however it ended. What came to no graph and no solve says nothing
// that its error does not say. That a record cannot be written is no error of a build.
func (b *build) writeRecord(ctx context.Context, res *Result, err error) {
	b.Progress.wait()
	if b.graph == nil && !b.solved {
		return
	}
	// A build that was cancelled is recorded, too.
	_, _ = journal.Open(b.Cache).Add(context.WithoutCancel(ctx), b.journalEntry(ctx, res, err), b.outline)
}

// outline describes the graph. Without a mask none is kept: nothing would hide what is secret in it.
func (b *build) outline() *llb.Outline {
	return b.graph.Outline(b.mask(), journal.Open(b.Cache).Salt())
}

func (b *build) journalEntry(ctx context.Context, res *Result, err error) journal.Build {
	out, asked, hide := b.req.Outputs, b.req, b.hide()
	asked.Outputs = b.asked // without the names that follow from the identity
	r := journal.Build{
		Name: asked.RecordName(), Source: b.req.Source, Kind: b.req.Plan.Kind, Start: b.began.UTC().Truncate(time.Millisecond),
		Took: time.Since(b.began).Milliseconds(), Pushed: out.Push, Identity: b.imageID, Steps: b.seen.List(hide),
		Sent: b.moved.counted().Sent,
	}
	for _, l := range b.req.CacheFrom {
		r.CacheFrom = append(r.CacheFrom, l.String())
	}
	for _, l := range b.req.CacheTo {
		r.CacheTo = append(r.CacheTo, l.String())
	}
	for _, e := range out.Exports {
		r.Exports = append(r.Exports, string(e.Type))
	}
	for _, s := range r.Steps {
		r.StepCount++
		if s.Cached {
			r.Cached++
		}
	}
	if b.graph != nil && b.Mask != nil {
		r.Graph = b.graph.Identity()
		if b.last != nil && b.last.Graph == r.Graph {
			r.GraphBlob = b.last.GraphBlob
		}
	}
	for _, img := range b.resolver.list() {
		if !img.Pinned {
			r.Bases = append(r.Bases, journal.Base{Name: img.Name, Digest: img.Digest})
		}
	}
	if b.solved {
		r.Builder = b.builder.Name()
	}
	switch {
	case err != nil:
		r.Cancelled = ctx.Err() != nil || errors.Is(err, context.Canceled)
		r.Error = journal.Short(hide(strings.Join(strings.Fields(err.Error()), " ")))
	case res != nil:
		r.How, r.Names = string(res.How), res.Names
		if res.Descriptor.Digest != "" {
			r.Result = &res.Descriptor
		}
		r.Images = b.platformImages(res)
	}
	return r
}

// RecordName is what builds of one image have in common, and what records are found by: the first name, without
// the tag where that is made from the identity; else the path of the source, or what it is called.
func (req Request) RecordName() string {
	out := req.Outputs
	switch {
	case len(out.Names) > 0:
		return reference.FamiliarString(out.Names[0])
	case len(out.ByIdentity) > 0:
		return reference.FamiliarName(out.ByIdentity[0].Name)
	case req.Source != "":
		return req.Source
	}
	return req.Plan.Name
}

// mask is Mask, knowing the values of this build's arguments and variables: a token is a token in an address, too.
// It is nil without a Mask.
func (b *build) mask() llb.Mask {
	if b.Mask == nil {
		return nil
	}
	var variables []string
	for key, value := range b.req.Plan.Attrs {
		if name, ok := strings.CutPrefix(key, "build-arg:"); ok {
			variables = append(variables, name+"="+value)
		}
	}
	if b.graph != nil {
		variables = append(variables, b.graph.Variables()...)
	}
	return b.Mask.Knowing(variables, journal.Open(b.Cache).Salt)
}

// hide returns what makes a text fit to be kept.
func (b *build) hide() func(string) string {
	mask := b.mask()
	if mask == nil {
		return func(text string) string { return text }
	}
	return func(text string) string { return string(mask([]byte(text))) }
}

// platformImages are the platforms of a result, with their manifests as far as this machine knows them: no
// registry is asked for a record.
func (b *build) platformImages(res *Result) []journal.Image {
	const limit = 4 << 20 // bytes of an index, as registries have it
	var list []journal.Image
	if b.rec == nil {
		return nil
	}
	for _, p := range b.rec.Platforms() {
		list = append(list, journal.Image{Platform: platforms.FormatAll(p)})
	}
	if len(list) == 1 && res.ConfigDigest != "" {
		list[0].Digest = res.Descriptor.Digest
		return list
	}
	data, err := b.Cache.ReadBlob(res.Descriptor.Digest, limit)
	var index ocispecs.Index
	if err != nil || json.Unmarshal(data, &index) != nil {
		return list
	}
	for i := range list {
		for _, m := range index.Manifests {
			if m.Platform != nil && platforms.FormatAll(platforms.Normalize(*m.Platform)) == list[i].Platform {
				list[i].Digest = m.Digest
			}
		}
	}
	return list
}

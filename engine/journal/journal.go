package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Build is the record of one build.
type Build struct {
	// ID is the record's number: 1, 2, 3 … in the order in which builds ended.
	ID uint64 `json:"id"`
	// Name is the first name of the image, without its tag where that is made from the identity; else the
	// source's absolute path.
	Name string `json:"name"`
	// Source is the absolute path of what was built, "" for standard input.
	Source string `json:"source,omitempty"`
	// Kind is what the source is, for people: "Dockerfile", "image spec".
	Kind  string    `json:"kind"`
	Start time.Time `json:"start"`
	// Took is in milliseconds.
	Took int64 `json:"took"`
	// How is what the build took (engine.How), "" when it failed.
	How string `json:"how,omitempty"`
	// Builder is the builder that was used, "" for none.
	Builder string `json:"builder,omitempty"`
	// Error says in one line why it failed, "" when it did not.
	Error     string `json:"error,omitempty"`
	Cancelled bool   `json:"cancelled,omitempty"`
	// Identity is the image's identity, "" when it has none.
	Identity digest.Digest `json:"identity,omitempty"`
	// Result is the image or index; nil when no output asked for one.
	Result *ocispecs.Descriptor `json:"result,omitempty"`
	// Images are the platforms, each with its manifest where that is known.
	Images []Image `json:"images,omitempty"`
	// Bases are the images that were named by a tag, with what the registry said of it when this build began.
	Bases []Base `json:"bases,omitempty"`
	// Names that the image got in registries.
	Names []string `json:"names,omitempty"`
	// Sent is how many bytes of blobs this process has sent to registries; what a builder pushed by itself is not in it.
	Sent int64 `json:"sent,omitempty"`
	// Pushed and Exports are the outputs that were asked for; an export by its type.
	Pushed  bool     `json:"pushed,omitempty"`
	Exports []string `json:"exports,omitempty"`
	// CacheFrom and CacheTo are the remote caches that were asked for, without credentials.
	CacheFrom []string `json:"cacheFrom,omitempty"`
	CacheTo   []string `json:"cacheTo,omitempty"`
	// StepCount and Cached count the steps that were shown, and those of them that did not have to run.
	StepCount int `json:"stepCount"`
	Cached    int `json:"cached"`
	// Steps are those of the record; [Journal.Find] has all of them, a list only those of short builds.
	Steps []Step `json:"steps,omitempty"`

	// Graph is the identity of the graph, "" when the source could not be recorded.
	Graph     digest.Digest        `json:"graph,omitempty"`
	GraphBlob *ocispecs.Descriptor `json:"graphBlob,omitempty"`
	StepsBlob *ocispecs.Descriptor `json:"stepsBlob,omitempty"`
}

// Image is one platform of a result.
type Image struct {
	Platform string        `json:"platform"`
	Digest   digest.Digest `json:"digest,omitempty"` // of the manifest
}

// Base is what a tag stood for.
type Base struct {
	Name   string        `json:"name"`   // canonical, with registry and tag
	Digest digest.Digest `json:"digest"` // of the index, where there is one
}

// baseKey is the key of builds that asked for a tag. No name of an image and no path begins like that.
func baseKey(name string) string { return "base " + name }

// Limits of the journal. A record is some kilobytes, and so is the outline of a graph without many files.
const (
	keepPerName = 20
	keepInAll   = 300
	// inlineSteps is how many steps a record has in itself; more of them go to a blob, which costs a file.
	inlineSteps = 8
	// maxBlob bounds a blob of the journal, in bytes before compression.
	maxBlob = 64 << 20
)

const blobType = "application/vnd.ibuild.journal.v1+json+zstd"

// Journal is the records of one user. It is a small value, safe for concurrent use.
type Journal struct{ store *cache.Store }

// Open returns the journal in a cache. It does no I/O.
func Open(store *cache.Store) Journal { return Journal{store} }

func (j Journal) log() cache.Log[Build] { return cache.Builds[Build](j.store) }

// Add writes a record and returns its number. Outline is asked for only when neither the caller (by b.GraphBlob) nor
// the newest record of this name knows a blob of the same graph; nil keeps no graph. The error says that nothing was
// written.
func (j Journal) Add(ctx context.Context, b Build, outline func() *llb.Outline) (uint64, error) {
	if b.Graph != "" && outline != nil {
		if err := j.keepGraph(ctx, &b, outline); err != nil {
			return 0, err
		}
	}
	if len(b.Steps) > inlineSteps {
		desc, err := j.writeBlob(ctx, b.Steps)
		if err != nil {
			return 0, err
		}
		b.Steps, b.StepsBlob = nil, desc
	}
	e := cache.Entry[Build]{Keys: []string{b.Name}, Value: b}
	for _, k := range append([]string{b.Source}, b.Names...) {
		if k != "" && !slices.Contains(e.Keys, k) {
			e.Keys = append(e.Keys, k)
		}
	}
	for _, base := range b.Bases {
		if k := baseKey(base.Name); !slices.Contains(e.Keys, k) {
			e.Keys = append(e.Keys, k)
		}
	}
	for _, d := range []*ocispecs.Descriptor{b.GraphBlob, b.StepsBlob} {
		if d != nil {
			e.Blobs = append(e.Blobs, d.Digest)
		}
	}
	return j.log().Add(e, cache.LogLimits{PerKey: keepPerName, Total: keepInAll})
}

func (j Journal) keepGraph(ctx context.Context, b *Build, outline func() *llb.Outline) (err error) {
	if b.GraphBlob != nil && j.store.HasBlob(*b.GraphBlob) {
		return nil
	}
	if last := j.log().Last(b.Name, 1); len(last) > 0 {
		was := last[0].Value
		if was.Graph == b.Graph && was.GraphBlob != nil && j.store.HasBlob(*was.GraphBlob) {
			b.GraphBlob = was.GraphBlob
			return nil
		}
	}
	b.GraphBlob, err = j.writeBlob(ctx, outline())
	return err
}

// Builds returns records, the newest first, at most limit of them: of one key, or all for "". The keys of a record
// are its Name, its Source, and each of its Names.
func (j Journal) Builds(key string, limit int) []Build {
	var list []Build
	for _, e := range j.log().Last(key, limit) {
		e.Value.ID = e.ID
		list = append(list, e.Value)
	}
	return list
}

// Seen returns what a tag (in its canonical form) stood for when a registry was last asked for it, and the time of the
// build that did.
func (j Journal) Seen(name string) (at digest.Digest, when time.Time, ok bool) {
	for _, b := range j.Builds(baseKey(name), 1) {
		for _, base := range b.Bases {
			if base.Name == name {
				return base.Digest, b.Start, true
			}
		}
	}
	return "", time.Time{}, false
}

// Find returns the record of a number, with all its steps where they are still there.
func (j Journal) Find(id uint64) (Build, bool) {
	e, ok := j.log().Get(id)
	b := e.Value
	b.ID = id
	if ok && b.StepsBlob != nil {
		_ = j.readBlob(b.StepsBlob, &b.Steps) // without them it is still a record
	}
	return b, ok
}

// Before returns the newest record before b of the same name, or, where there is none, of the same source, that
// has a graph.
func (j Journal) Before(b Build) (Build, bool) {
	return j.Newest(b.Name, b.Source, func(o Build) bool { return o.ID < b.ID && o.GraphBlob != nil })
}

// Newest returns the newest record of the name that fits, or, where none does, of the source.
func (j Journal) Newest(name, source string, fits func(Build) bool) (Build, bool) {
	for _, key := range []string{name, source} {
		if key == "" {
			continue
		}
		for _, b := range j.Builds(key, keepInAll) {
			if fits(b) {
				return b, true
			}
		}
	}
	return Build{}, false
}

// Made returns the newest record whose result, or the image of one of its platforms, has one of the digests: that
// of a build which made it, else of one that found it there.
func (j Journal) Made(list ...digest.Digest) (Build, bool) {
	var known *Build
	for _, b := range j.Builds("", keepInAll) {
		has := b.Result != nil && slices.Contains(list, b.Result.Digest) ||
			slices.ContainsFunc(b.Images, func(i Image) bool { return i.Digest != "" && slices.Contains(list, i.Digest) })
		switch {
		case has && b.How != "known":
			return b, true
		case has && known == nil:
			known = &b
		}
	}
	if known == nil {
		return Build{}, false
	}
	return *known, true
}

// ErrNoGraph says that there is no graph of a build: it could not be recorded, or it is not kept any more.
var ErrNoGraph = errors.New("its graph is not kept")

// Outline returns what a build was made of. The error is [ErrNoGraph].
func (j Journal) Outline(b Build) (*llb.Outline, error) {
	var o llb.Outline
	if b.GraphBlob == nil {
		return nil, ErrNoGraph
	}
	if err := j.readBlob(b.GraphBlob, &o); err != nil {
		return nil, fmt.Errorf("%w (%v)", ErrNoGraph, err)
	}
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("%w (%v)", ErrNoGraph, err)
	}
	return &o, nil
}

func (j Journal) writeBlob(ctx context.Context, value any) (*ocispecs.Descriptor, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	if len(data) > maxBlob {
		return nil, fmt.Errorf("a record of %d bytes, more than %d", len(data), maxBlob)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	desc, err := j.store.WriteBlob(ctx, blobType, enc.EncodeAll(data, nil))
	return &desc, errors.Join(err, enc.Close())
}

func (j Journal) readBlob(desc *ocispecs.Descriptor, into any) error {
	data, err := j.store.ReadBlob(desc.Digest, maxBlob)
	if err != nil {
		return err
	}
	return decodeBlob(data, into)
}

// decodeBlob reads what a file of the cache has; nothing but its digest is known of it.
func decodeBlob(data []byte, into any) error {
	dec, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderMaxMemory(maxBlob), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer dec.Close()
	plain, err := cache.ReadAll(dec, maxBlob)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, into)
}

package llb

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/gitutil"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

// identityVersion is part of every identity: a change of the canonical form is a change of all of them.
const identityVersion = "ibuild.identity.v1"

// vertex is one operation of a parsed definition.
type vertex struct {
	op   *pb.Op
	meta *pb.OpMetadata
}

// parseDefinition reads a definition into its operations by digest; root is the vertex that is asked for.
func parseDefinition(def *pb.Definition) (ops map[digest.Digest]vertex, root digest.Digest, err error) {
	if def == nil || len(def.Def) == 0 {
		return nil, "", fmt.Errorf("the definition is empty")
	}
	ops = make(map[digest.Digest]vertex, len(def.Def))
	var last *pb.Op
	for _, data := range def.Def {
		op := &pb.Op{}
		if err := proto.Unmarshal(data, op); err != nil {
			return nil, "", fmt.Errorf("definition: %w", err)
		}
		d := digest.FromBytes(data)
		ops[d] = vertex{op: op, meta: def.Metadata[string(d)]}
		last = op
	}
	// the last operation only points at the result
	if len(last.Inputs) == 0 {
		return nil, "", fmt.Errorf("definition: the last operation has no input")
	}
	root = digest.Digest(last.Inputs[0].Digest)
	if _, ok := ops[root]; !ok {
		return nil, "", fmt.Errorf("definition: the result %s is missing", root)
	}
	return ops, root, nil
}

// Graph is the canonical form of a recording: the same bytes for the same work, on every machine.
type Graph struct {
	Version string       `json:"version"`
	Images  []GraphImage `json:"images"`
	// Result are digests of what the result says of itself beside platforms and configs, such as the time that
	// files are set to, by BuildKit's key. [OneImageIndex] is there for an index of one platform.
	Result map[string]digest.Digest `json:"result,omitempty"`
	// Stamp is what [Recording.Stamp] said of the local files just before they were read; it is in no identity.
	Stamp digest.Digest `json:"-"`
}

// OneImageIndex is the key in [Graph.Result] of an index that holds one image, which a frontend can ask for
// (BUILDKIT_MULTI_PLATFORM). It is stored as something else than the image alone.
const OneImageIndex = "ibuild.index"

// GraphImage is the canonical form of one platform.
type GraphImage struct {
	Platform string          `json:"platform"`
	Root     digest.Digest   `json:"root,omitempty"`
	Config   json.RawMessage `json:"config,omitempty"`
	Vertices []GraphVertex   `json:"vertices,omitempty"`
}

// GraphVertex is one operation; inputs come before what uses them.
type GraphVertex struct {
	Digest digest.Digest `json:"digest"`
	Name   string        `json:"name,omitempty"` // for people, not part of the digest
	Op     *pb.Op        `json:"op"`
	// Files are what a local source can see, in the order of paths. Sources that see the same share the list.
	Files []LocalFile `json:"-"`
}

// Identity is the digest of all that decides what the recording builds, and of nothing else: every
// operation, the files that local sources can see, configs, platforms and what else the result says. Names of
// vertices, positions in the source, session ids, proxies and names of cache mounts are left out.
func (g *Graph) Identity() digest.Digest {
	type image struct {
		Platform string
		Root     digest.Digest
		Config   json.RawMessage
	}
	var images []image
	for _, i := range g.Images {
		images = append(images, image{i.Platform, i.Root, i.Config})
	}
	whole := []any{g.Version, images}
	if len(g.Result) > 0 {
		whole = append(whole, g.Result)
	}
	data, err := json.Marshal(whole)
	if err != nil {
		panic(err) // RawMessage that was JSON before stays JSON
	}
	return digest.FromBytes(data)
}

// Graph brings the recording into its canonical form. It looks at all local files that the build can see, once,
// and reads those that it does not know from an earlier time ([Plan.WithSums]).
func (r *Recording) Graph(ctx context.Context) (*Graph, error) {
	parsed, err := r.parse()
	if err != nil {
		return nil, err
	}
	files, err := eachLocal(ctx, parsed, r.locals, func(ctx context.Context, s *localSource) (*listing, error) { return s.list(ctx) })
	if err != nil {
		return nil, err
	}
	for _, l := range r.locals {
		l.sums.keep()
	}
	stamps := map[string]digest.Digest{}
	for key, l := range files {
		stamps[key] = l.stamp
	}
	g := &Graph{Version: identityVersion, Images: make([]GraphImage, len(r.Images)), Result: r.result(), Stamp: joinStamps(stamps)}
	for i, img := range r.Images {
		if g.Images[i], err = graphImage(img, parsed[i], files); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// result is [Graph.Result]. All that an exporter gets to read of a result counts, also keys that are not known here.
func (r *Recording) result() map[string]digest.Digest {
	out := map[string]digest.Digest{}
	for key, data := range r.meta {
		out[key] = digest.FromBytes(data)
	}
	delete(out, exptypes.ExporterPlatformsKey) // the images have these
	for _, img := range r.Images {
		delete(out, r.configKey(img))
	}
	if r.multi && len(r.Images) == 1 { // what is not one image is an index anyway
		out[OneImageIndex] = digest.FromString("")
	}
	return out
}

func graphImage(img RecordedImage, parsed parsedImage, files map[string]*listing) (GraphImage, error) {
	gi := GraphImage{Platform: platforms.FormatAll(img.Platform)}
	if len(img.Config) > 0 {
		config, err := canonicalJSON(img.Config)
		if err != nil {
			return gi, fmt.Errorf("image config: %w", err)
		}
		gi.Config = config
	}
	if parsed.ops == nil {
		return gi, nil
	}
	c := canonicalizer{ops: parsed.ops, files: files, done: map[digest.Digest]digest.Digest{}}
	var err error
	if gi.Root, err = c.visit(parsed.root); err != nil {
		return gi, err
	}
	gi.Vertices = c.order
	return gi, nil
}

// canonicalJSON sorts keys and drops spaces.
func canonicalJSON(data []byte) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // a float64 does not hold every number
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

type canonicalizer struct {
	ops   map[digest.Digest]vertex
	files map[string]*listing // by the key of the local source
	done  map[digest.Digest]digest.Digest
	order []GraphVertex
}

func (c *canonicalizer) visit(d digest.Digest) (digest.Digest, error) {
	if out, ok := c.done[d]; ok {
		return out, nil
	}
	v, ok := c.ops[d]
	if !ok {
		return "", fmt.Errorf("definition: input %s is missing", d)
	}
	op := proto.CloneOf(v.op)
	for _, in := range op.Inputs {
		out, err := c.visit(digest.Digest(in.Digest))
		if err != nil {
			return "", err
		}
		in.Digest = string(out)
	}
	strip(op)
	var files []LocalFile
	if src := v.op.GetSource(); src != nil && isLocal(src) {
		seen := c.files[sourceKey(src)]
		op.GetSource().Identifier = "local://" // what a folder is called decides nothing
		op.GetSource().Attrs["ibuild.files"] = seen.digest.String()
		files = seen.files
	}
	// not its JSON: BuildKit's leaves fields out (symlinks), and two operations must never have one digest
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		return "", err
	}
	out := digest.FromBytes(data)
	c.done[d] = out
	gv := GraphVertex{Digest: out, Op: op, Files: files}
	if v.meta != nil {
		gv.Name = v.meta.Description["llb.customname"]
	}
	if !slices.ContainsFunc(c.order, func(o GraphVertex) bool { return o.Digest == out }) {
		c.order = append(c.order, gv)
	}
	return out, nil
}

// strip removes what does not decide the result; see BuildKit's solver/llbsolver/ops/exec.go (CacheMap)
// for the same list as its own cache keys have it.
func strip(op *pb.Op) {
	op.Constraints = nil
	if src := op.GetSource(); src != nil && isLocal(src) {
		if src.Attrs == nil {
			src.Attrs = map[string]string{}
		}
		for _, a := range []string{pb.AttrLocalUniqueID, pb.AttrLocalSessionID, pb.AttrSharedKeyHint, pb.AttrLocalDiffer} {
			delete(src.Attrs, a)
		}
	}
	if ex := op.GetExec(); ex != nil {
		if ex.Meta != nil {
			ex.Meta.ProxyEnv = nil
		}
		for _, m := range ex.Mounts {
			if m.CacheOpt != nil {
				m.CacheOpt.ID, m.CacheOpt.Sharing = "", 0
			}
		}
	}
}

func isLocal(src *pb.SourceOp) bool { return strings.HasPrefix(src.Identifier, "local://") }

// Volatile names the sources whose content can change without their name changing (a URL without a
// checksum, a git branch), so that only a builder can tell whether a result is current.
func (g *Graph) Volatile() []string {
	var list []string
	for _, img := range g.Images {
		for _, v := range img.Vertices {
			if src := v.Op.GetSource(); src != nil && volatile(src) && !slices.Contains(list, src.Identifier) {
				list = append(list, src.Identifier)
			}
		}
	}
	return list
}

func volatile(src *pb.SourceOp) bool {
	scheme, rest, _ := strings.Cut(src.Identifier, "://")
	switch scheme {
	case "local":
		return false
	case "docker-image":
		return !strings.Contains(rest, "@")
	case "http", "https":
		return src.Attrs[pb.AttrHTTPChecksum] == ""
	case "git":
		return !gitutil.IsCommitSHA(src.Attrs[pb.AttrGitChecksum]) // of a short one BuildKit compares what is there
	}
	return true
}

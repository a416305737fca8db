package llb

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

// Limits of an outline, so that what is kept of a build stays small. What is cut still shows that it changed.
const (
	maxOutlineFiles = 20_000   // per step
	maxOutlineText  = 32 << 10 // bytes of one value
)

// Outline is a graph in words: for each step the things that decide it, one by one, so that two graphs can be
// compared and a difference has a name. It is made to be kept: it has no contents of files, and its texts
// went through a mask.
type Outline struct {
	// Salt is the same for outlines whose fingerprints can be compared, "" when there is none to compare.
	Salt   string         `json:"salt,omitempty"`
	Images []OutlineImage `json:"images"`
}

// OutlineImage is the outline of one platform.
type OutlineImage struct {
	Platform string        `json:"platform"`
	Config   []Part        `json:"config,omitempty"`
	Steps    []OutlineStep `json:"steps,omitempty"` // inputs come before what uses them
}

// OutlineStep is one operation.
type OutlineStep struct {
	// Digest stands for the step and all that it depends on, Own for the step alone.
	Digest digest.Digest `json:"digest"`
	Own    digest.Digest `json:"own"`
	Name   string        `json:"name"` // what progress calls it
	Kind   StepKind      `json:"kind"`
	Inputs []int         `json:"inputs,omitempty"` // indexes of steps before it
	Copies []OutlineCopy `json:"copies,omitempty"` // what it takes of inputs, one for each input that it only copies from
	Parts  []Part        `json:"parts,omitempty"`
	Files  []OutlineFile `json:"files,omitempty"` // of a folder of the caller's
	// Unlisted counts the files that are not in Files, because they are too many.
	Unlisted int `json:"unlisted,omitempty"`
}

// OutlineCopy says which paths a step takes of one of its inputs.
type OutlineCopy struct {
	Input int      `json:"input"` // index in Inputs
	Paths []string `json:"paths"`
}

// StepKind says what a step does.
type StepKind string

// The kinds of steps.
const (
	StepImage StepKind = "image" // an image is loaded
	StepLocal StepKind = "local" // files of the caller's are read
	StepFetch StepKind = "fetch" // git, HTTP and other sources
	StepRun   StepKind = "run"   // a command
	StepFiles StepKind = "files" // files are copied, written, removed
	StepJoin  StepKind = "join"  // trees are merged, or subtracted from each other
	StepOther StepKind = "other"
)

// Part is one thing that decides a step or an image's config.
type Part struct {
	What  string `json:"what"`           // such as "command" or "variable"
	Name  string `json:"name,omitempty"` // which one, where there are several
	Value string `json:"value,omitempty"`
}

// OutlineFile is one file, folder or link that a step reads from the caller's machine.
type OutlineFile struct {
	Path string `json:"path"`
	Mode string `json:"mode"`           // as ls writes it
	Link string `json:"link,omitempty"` // what a link points to
	Size int64  `json:"size,omitempty"`
	// Sum and Attrs stand for the bytes and the extended attributes: 16 hexadecimal digits, only to see a change.
	Sum   string `json:"sum,omitempty"`
	Attrs string `json:"attrs,omitempty"`
}

// Outline describes the graph. The mask sees every name and value before it is kept; where it hides something,
// a fingerprint of the value stays, made with the salt, so that a change of a secret can be seen and the secret
// cannot. Digests of steps and files are as they are.
func (g *Graph) Outline(mask Mask, salt Salt) *Outline {
	out := &Outline{Salt: salt.id(), Images: []OutlineImage{}}
	for _, img := range g.Images {
		h := newHider(mask, salt, img)
		oi := OutlineImage{Platform: img.Platform, Config: append(h.parts(configParts(img.Config)), g.resultParts()...)}
		at := map[string]int{}
		for i, v := range img.Vertices {
			at[string(v.Digest)] = i
			oi.Steps = append(oi.Steps, outlineStep(v, at, h))
		}
		out.Images = append(out.Images, oi)
	}
	return out
}

// resultParts are what the result says of itself, but for the config of a base, which is a step of its own. Values
// are digests, only to see a change.
func (g *Graph) resultParts() []Part {
	var list []Part
	for _, key := range slices.Sorted(maps.Keys(g.Result)) {
		if strings.HasPrefix(key, exptypes.ExporterImageBaseConfigKey) {
			continue
		}
		list = append(list, Part{What: "output", Name: key, Value: shortSum(g.Result[key])})
	}
	return list
}

func outlineStep(v GraphVertex, at map[string]int, h *hider) OutlineStep {
	s := OutlineStep{Digest: v.Digest, Own: ownDigest(v), Name: h.text(v.label())}
	for _, in := range v.Op.Inputs {
		s.Inputs = append(s.Inputs, at[in.Digest])
	}
	var parts []Part
	s.Kind, parts = opParts(v.Op)
	if p := v.Op.GetPlatform(); p != nil && s.Kind != StepImage {
		parts = append(parts, Part{What: "platform", Value: strings.TrimRight(strings.Join([]string{p.OS, p.Architecture, p.Variant}, "/"), "/")})
	}
	s.Parts, s.Copies = h.parts(parts), opCopies(v.Op)
	listed := v.Files[:min(len(v.Files), maxOutlineFiles)]
	s.Unlisted = len(v.Files) - len(listed)
	for _, f := range listed {
		s.Files = append(s.Files, OutlineFile{
			Path: f.Path, Mode: f.Mode.String(), Link: f.Linkname, Size: f.Size, Sum: shortSum(f.Digest), Attrs: shortSum(f.Xattrs),
		})
	}
	return s
}

func shortSum(d digest.Digest) string {
	if d == "" {
		return ""
	}
	return d.Encoded()[:16]
}

// ownDigest is the digest of an operation without the identities of its inputs.
func ownDigest(v GraphVertex) digest.Digest {
	op := proto.CloneOf(v.Op)
	for _, in := range op.Inputs {
		in.Digest = ""
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		return v.Digest // never: it was marshalled before; and then all that depends on it is its own
	}
	return digest.FromBytes(data)
}

// configParts takes an image config apart. History and layers are left out: they follow from the steps.
func configParts(config []byte) []Part {
	var top map[string]json.RawMessage
	if len(config) == 0 || json.Unmarshal(config, &top) != nil {
		return nil
	}
	var list []Part
	for _, k := range slices.Sorted(maps.Keys(top)) {
		switch k {
		case "history", "rootfs":
		case "config":
			list = append(list, runConfigParts(top[k])...)
		default:
			list = append(list, Part{What: "config", Name: k, Value: jsonText(top[k])})
		}
	}
	return list
}

func runConfigParts(config []byte) []Part {
	var run map[string]json.RawMessage
	if json.Unmarshal(config, &run) != nil {
		return nil
	}
	var list []Part
	for _, k := range slices.Sorted(maps.Keys(run)) {
		var env []string
		var labels map[string]string
		switch {
		case k == "Env" && json.Unmarshal(run[k], &env) == nil:
			list = append(list, envParts(env)...)
		case k == "Labels" && json.Unmarshal(run[k], &labels) == nil:
			for _, l := range slices.Sorted(maps.Keys(labels)) {
				list = append(list, Part{What: "label", Name: l, Value: labels[l]})
			}
		default:
			list = append(list, Part{What: "config", Name: k, Value: jsonText(run[k])})
		}
	}
	return list
}

// jsonText is a JSON value as people read it.
func jsonText(data json.RawMessage) string {
	var s string
	if json.Unmarshal(data, &s) == nil {
		return s
	}
	return string(data)
}

func envParts(env []string) []Part {
	var list []Part
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		list = append(list, Part{What: "variable", Name: k, Value: v})
	}
	return list
}

// Check says what is wrong with an outline that was read from somewhere: inputs have to be steps before it.
func (o *Outline) Check() error {
	for _, img := range o.Images {
		for i, s := range img.Steps {
			for _, in := range s.Inputs {
				if in < 0 || in >= i {
					return fmt.Errorf("outline of %s: step %d has the input %d", img.Platform, i, in)
				}
			}
			for _, c := range s.Copies {
				if c.Input < 0 || c.Input >= len(s.Inputs) {
					return fmt.Errorf("outline of %s: step %d copies from the input %d", img.Platform, i, c.Input)
				}
			}
		}
	}
	return nil
}

// Base is the image that a platform's result starts from, by name and digest; "" for the empty image, and for a
// platform that is not there.
func (o *Outline) Base(platform string) string {
	at := slices.IndexFunc(o.Images, func(i OutlineImage) bool { return i.Platform == platform })
	if at < 0 || len(o.Images[at].Steps) == 0 {
		return ""
	}
	steps := o.Images[at].Steps
	s := &steps[len(steps)-1] // the result is the last one
	for len(s.Inputs) > 0 {
		s = &steps[s.Inputs[0]] // what the others are put onto
	}
	if s.Kind != StepImage || len(s.Parts) < 2 {
		return ""
	}
	return s.Parts[0].Value + "@" + s.Parts[1].Value
}

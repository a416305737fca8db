package llb

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/solver/pb"
	srctypes "github.com/moby/buildkit/source/types"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// leftOut are the fields that are in no identity, each with the reason why that is safe. "CacheMap" is the
// method of BuildKit's solver/llbsolver/ops/exec.go that makes the cache key of a step.
// Whatever is not here has to change the identity: a field that a later BuildKit adds does so by itself, or fails the
// test until somebody decides.
func leftOut() map[string]string {
	return map[string]string{
		"Op.constraints":                    "which of a builder's workers runs the step; what it is for is Op.platform. No CacheMap reads it",
		"Op.exec.meta.proxy_env":            "how a step reaches the network; CacheMap drops it",
		"Op.exec.mounts[].cacheOpt.ID":      "which cache a step may use; any may be empty at any time. CacheMap drops names that are not the default",
		"Op.exec.mounts[].cacheOpt.sharing": "who waits for whom; CacheMap drops it with the name",

		"Op(local).constraints":                       "as Op.constraints",
		"Op(local).source.identifier":                 "what the folder is called; what is in it counts",
		"Op(local).source.attrs[local.session]":       "who sends the files",
		"Op(local).source.attrs[local.unique]":        "a number that keeps builders from sharing a transfer",
		"Op(local).source.attrs[local.sharedkeyhint]": "which earlier transfer is continued; contents are compared (TestChangedFilesAreSentAgain)",
		"Op(local).source.attrs[local.differ]":        "how it is found out what has to be sent; contents are compared",

		"Definition.metadata[op]":                 "the metadata as a whole: see its fields",
		"Definition.metadata":                     "metadata of an operation that is not there",
		"Definition.metadata[op].ignore_cache":    "--no-cache: nothing is looked up then",
		"Definition.metadata[op].description":     "names for people",
		"Definition.metadata[op].export_cache":    "whether the step goes into an exported cache",
		"Definition.metadata[op].caps":            "what the builder has to be able to do; one that is not refuses",
		"Definition.metadata[op].progress_group":  "how progress is shown",
		"Definition.metadata[op].linux_resources": "how much memory and CPU a step gets: a step that fails makes nothing; said in ops.proto to be in no cache key",
		"Definition.Source":                       "positions in the source, for messages",
	}
}

// reason is the one for a field or for what it is part of.
func reason(path string) (entry string, out bool) {
	list := leftOut()
	for p := path; p != ""; {
		if _, ok := list[p]; ok && (p == path || !strings.HasPrefix(p, "Definition.metadata") || strings.Contains(p, "].")) {
			return p, true
		}
		p = p[:max(strings.LastIndexAny(p, ".["), 0)]
	}
	return "", false
}

// observed notes which fields change an identity and which do not.
type observed struct {
	t      *testing.T
	counts map[string]bool
	seen   map[digest.Digest]string // identities of what counts, with what was changed
	base   digest.Digest
}

// note takes the identity after a change. form tells apart what is another operation.
func (o *observed) note(path, form string, id digest.Digest) {
	o.t.Helper()
	_, out := reason(path)
	o.counts[path] = !out
	switch {
	case out && id != o.base:
		o.t.Errorf("%s is said to be left out, and changes the identity", path)
	case !out && id == o.base:
		o.t.Errorf("%s does not change the identity: let it count, or add it to leftOut with the reason", path)
	case !out && o.seen[id] != "" && o.seen[id] != form:
		o.t.Errorf("a change of %s has the identity of another change", path)
	case !out:
		o.seen[id] = form
	}
}

// TestEveryFieldOfEveryOperation changes each field of each message that a definition can hold, one at a time. The list
// of all of them with what came out is in testdata.
func TestEveryFieldOfEveryOperation(t *testing.T) {
	inputs := []*pb.Op{source("docker-image://a@sha256:1", nil), source("docker-image://b@sha256:2", nil), source("docker-image://c@sha256:3", nil)}
	o := &observed{t: t, counts: map[string]bool{}, seen: map[digest.Digest]string{}}
	for _, s := range filledOps(t, inputs) {
		bare, _ := around(t, s.op, inputs...)
		o.base = identityWith(t, bare)
		o.seen[o.base] = "as it is: " + s.root + s.name
		mutator{input: digestOf(t, inputs[2]), see: func(path string) {
			def, _ := around(t, s.op, inputs...)
			form, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.op)
			if err != nil {
				t.Fatal(err)
			}
			o.note(path, string(form), identityWith(t, def))
		}}.message(s.op.ProtoReflect(), s.root)
	}
	beside(t, o)
	for p := range leftOut() {
		if _, ok := o.counts[p]; !ok {
			t.Errorf("%s was never changed", p)
		}
	}
	var text strings.Builder
	for _, p := range slices.Sorted(maps.Keys(o.counts)) {
		if e, out := reason(p); out {
			fmt.Fprintf(&text, "%s: left out: %s\n", p, leftOut()[e])
		} else {
			fmt.Fprintf(&text, "%s: counts\n", p)
		}
	}
	golden(t, "identity-fields.txt", []byte(text.String()))
}

// beside changes what a definition says beside its operations.
func beside(t *testing.T, o *observed) {
	t.Helper()
	def, at := around(t, source("docker-image://a@sha256:1", nil))
	o.base = identityWith(t, def)
	full := &pb.Definition{}
	filler{}.fill(full.ProtoReflect())
	full.Def = def.Def
	full.Metadata = map[string]*pb.OpMetadata{at.String(): full.Metadata["key"]}
	if id := identityWith(t, full); id != o.base {
		t.Error("metadata and positions change the identity")
	}
	op := strings.NewReplacer("["+at.String()+"]", "[op]")
	mutator{see: func(path string) {
		// the bytes of operations are changed by their fields, as broken ones are an error
		if path = op.Replace(path); !strings.HasPrefix(path, "Definition.def") {
			o.note(path, "", identityWith(t, full))
		}
	}}.message(full.ProtoReflect(), "Definition")
}

type filledOp struct {
	root, name string
	op         *pb.Op
}

// filledOps are operations of every kind, and sources of every scheme, with all fields set.
func filledOps(t *testing.T, inputs []*pb.Op) []filledOp {
	t.Helper()
	edges := func() []*pb.Input {
		return []*pb.Input{{Digest: digestOf(t, inputs[0]).String(), Index: 1}, {Digest: digestOf(t, inputs[1]).String(), Index: 2}}
	}
	kinds := (&pb.Op{}).ProtoReflect().Descriptor().Oneofs().ByName("op").Fields()
	var list []filledOp
	for i := range kinds.Len() {
		for owner := range 2 { // by name and by number
			op := &pb.Op{}
			filler{choice: i + owner*kinds.Len()}.fill(op.ProtoReflect())
			op.Inputs = edges()
			list = append(list, filledOp{"Op", fmt.Sprint(kinds.Get(i).Name(), owner), op})
		}
	}
	for _, scheme := range []string{srctypes.DockerImageScheme, srctypes.DockerImageBlobScheme, srctypes.GitScheme, srctypes.HTTPScheme,
		srctypes.HTTPSScheme, srctypes.OCIScheme, srctypes.OCIBlobScheme} {
		list = append(list, filledOp{"Op", scheme, source(scheme+"://x", attributes())})
	}
	return append(list, filledOp{"Op(local)", "", source("local://context", attributes())})
}

// attributes are all that BuildKit knows (solver/pb/attr.go), on whatever source they mean something.
func attributes() map[string]string {
	all := map[string]string{}
	for _, a := range []string{pb.AttrKeepGitDir, pb.AttrFullRemoteURL, pb.AttrAuthHeaderSecret, pb.AttrAuthTokenSecret, pb.AttrKnownSSHHosts,
		pb.AttrMountSSHSock, pb.AttrGitChecksum, pb.AttrGitSkipSubmodules, pb.AttrGitMTime, pb.AttrGitFetchByCommit, pb.AttrGitBundle,
		pb.AttrGitCheckoutBundle, pb.AttrGitAdvice, pb.AttrGitSignatureVerifyPubKey, pb.AttrGitSignatureVerifyRejectExpired,
		pb.AttrGitSignatureVerifyRequireSignedTag, pb.AttrGitSignatureVerifyIgnoreSignedTag, pb.AttrLocalSessionID, pb.AttrLocalUniqueID,
		pb.AttrSharedKeyHint, pb.AttrMetadataTransfer, pb.AttrMetadataTransferExclude, pb.AttrLLBDefinitionFilename, pb.AttrHTTPChecksum,
		pb.AttrHTTPFilename, pb.AttrHTTPPerm, pb.AttrHTTPUID, pb.AttrHTTPGID, pb.AttrHTTPAuthHeaderSecret, pb.AttrHTTPHeaderPrefix + "accept",
		pb.AttrHTTPSignatureVerifyPubKey, pb.AttrHTTPSignatureVerify, pb.AttrImageResolveMode, pb.AttrImageRecordType, pb.AttrImageLayerLimit,
		pb.AttrImageChecksum, pb.AttrOCILayoutSessionID, pb.AttrOCILayoutStoreID, pb.AttrOCILayoutLayerLimit, pb.AttrLocalDiffer} {
		all[a] = "text 1"
	}
	for _, a := range []string{pb.AttrIncludePatterns, pb.AttrExcludePatterns, pb.AttrFollowPaths} {
		all[a] = `["x"]`
	}
	return all
}

func digestOf(t *testing.T, op *pb.Op) digest.Digest {
	t.Helper()
	_, at := around(t, op)
	return at
}

// A field that this version of BuildKit does not know counts, whatever it means.
func TestUnknownFieldsCount(t *testing.T) {
	op := source("docker-image://a@sha256:1", nil)
	def, _ := around(t, op)
	one := identityWith(t, def)
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 5000, protowire.VarintType), 1)
	op.GetSource().ProtoReflect().SetUnknown(unknown)
	if def, _ = around(t, op); identityWith(t, def) == one {
		t.Error("a field of a later BuildKit is not seen")
	}
}

// The order in which a definition lists its operations decides nothing.
func TestOrderOfOperations(t *testing.T) {
	a, b := source("docker-image://a@sha256:1", nil), source("docker-image://b@sha256:2", nil)
	op := &pb.Op{Inputs: []*pb.Input{{Digest: digestOf(t, a).String()}, {Digest: digestOf(t, b).String()}}, Op: &pb.Op_Merge{Merge: &pb.MergeOp{}}}
	one, _ := around(t, op, a, b)
	two, _ := around(t, op, b, a)
	twice, _ := around(t, op, a, b, a)
	unused, _ := around(t, op, a, b, source("docker-image://c@sha256:3", nil))
	want := identityWith(t, one)
	for name, def := range map[string]*pb.Definition{"order": two, "an operation that is there twice": twice, "one that nothing uses": unused} {
		if identityWith(t, def) != want {
			t.Errorf("%s changes the identity", name)
		}
	}
	op.Inputs[0], op.Inputs[1] = op.Inputs[1], op.Inputs[0]
	if swapped, _ := around(t, op, a, b); identityWith(t, swapped) == want {
		t.Error("the order of inputs does not change the identity")
	}
}

// What a recording says beside its operations counts, too.
func TestEveryFieldOfARecording(t *testing.T) {
	def, _ := around(t, source("local://context", nil))
	other, _ := around(t, source("docker-image://a@sha256:1", nil))
	type form struct {
		rec *Recording
		img *RecordedImage
	}
	fresh := func() form {
		rec := &Recording{meta: map[string][]byte{"source.date.epoch": []byte("1"), "containerimage.config": []byte("{}")},
			locals: map[string]Local{"context": {Files: map[string][]byte{"a": []byte("1")}}},
			Images: []RecordedImage{{ID: "x", Definition: def, Config: []byte("{}"), Platform: ocispecs.Platform{
				OS: "linux", Architecture: "arm", Variant: "v7", OSVersion: "1", OSFeatures: []string{"a"}}}}}
		return form{rec, &rec.Images[0]}
	}
	changes := map[string]func(form){
		"Recording.Images":                  func(f form) { f.rec.Images = append(f.rec.Images, *f.img) },
		"Recording.Warnings":                func(f form) { f.rec.Warnings = []Warning{{Message: "w"}} },
		"Recording.CacheFrom":               func(f form) { f.rec.CacheFrom = []string{"x"} },
		"Recording.meta":                    func(f form) { f.rec.meta["source.date.epoch"] = []byte("2") },
		"Recording.meta, one more":          func(f form) { f.rec.meta["x"] = nil },
		"Recording.meta, another config":    func(f form) { f.rec.meta["containerimage.config/y"] = []byte("{}") },
		"Recording.multi":                   func(f form) { f.rec.multi = true },
		"Recording.locals":                  func(f form) { f.rec.locals["context"] = Local{Files: map[string][]byte{"a": []byte("2")}} },
		"RecordedImage.ID":                  func(f form) { f.img.ID = "y" },
		"RecordedImage.Definition":          func(f form) { f.img.Definition = other },
		"RecordedImage.Definition, none":    func(f form) { f.img.Definition = nil },
		"RecordedImage.Config":              func(f form) { f.img.Config = []byte(`{"a":1}`) },
		"RecordedImage.Platform.OS":         func(f form) { f.img.Platform.OS = "windows" },
		"RecordedImage.Platform.Arch":       func(f form) { f.img.Platform.Architecture = "arm64" },
		"RecordedImage.Platform.Variant":    func(f form) { f.img.Platform.Variant = "v6" },
		"RecordedImage.Platform.OSVersion":  func(f form) { f.img.Platform.OSVersion = "2" },
		"RecordedImage.Platform.OSFeatures": func(f form) { f.img.Platform.OSFeatures = []string{"b"} },
	}
	out := map[string]string{
		"Recording.Warnings":  "for people",
		"Recording.CacheFrom": "where a builder may find results that have the same key",
		"RecordedImage.ID":    "a key between frontend and exporter, that stands for the platform",
	}
	base := graph(t, fresh().rec).Identity()
	seen := map[digest.Digest]string{}
	for name, change := range changes {
		f := fresh()
		change(f)
		id := graph(t, f.rec).Identity()
		if same := id == base; same != (out[name] != "") {
			t.Errorf("%s: the identity is the same: %v", name, same)
		}
		if other := seen[id]; other != "" && id != base {
			t.Errorf("%s and %s have the same identity", name, other)
		}
		seen[id] = name
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Recording](), reflect.TypeFor[RecordedImage]()} {
		for i := range typ.NumField() {
			field := typ.Name() + "." + typ.Field(i).Name
			if !slices.ContainsFunc(slices.Collect(maps.Keys(changes)), func(n string) bool { return strings.HasPrefix(n, field) }) {
				t.Errorf("nobody has decided whether %s counts", field)
			}
		}
	}
}

// BuildKit compares a commit with the beginning that it is given, so a short one leaves open what is there.
func TestShortCommitIsVolatile(t *testing.T) {
	full := strings.Repeat("a", 40)
	for sum, want := range map[string]bool{"": true, "a": true, full[1:]: true, full: false, strings.Repeat("0", 64): false, "main": true} {
		if got := volatile(&pb.SourceOp{Identifier: "git://x#main", Attrs: map[string]string{pb.AttrGitChecksum: sum}}); got != want {
			t.Errorf("a git source with the checksum %q is volatile: %v", sum, got)
		}
	}
}

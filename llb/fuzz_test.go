package llb

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"
)

// chain makes a definition of operations that each use the one before; the last one is asked for.
func chain(t testing.TB, ops ...*pb.Op) *pb.Definition {
	t.Helper()
	def := &pb.Definition{Metadata: map[string]*pb.OpMetadata{}}
	for i, op := range append(ops, &pb.Op{}) {
		if i > 0 {
			op.Inputs = append(op.Inputs, &pb.Input{Digest: digest.FromBytes(def.Def[i-1]).String()})
		}
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
		if err != nil {
			t.Fatal(err)
		}
		def.Def = append(def.Def, data)
	}
	return def
}

// everything does with a definition what ibuild ever does with one.
func everything(def *pb.Definition) (*Graph, error) {
	m := Machine{Env: map[string]string{"HTTP_PROXY": "x"}, Files: map[string][]byte{MachineCA: nil}}
	out, err := m.Apply(def)
	if err == nil && len(out.Def) != len(def.Def) {
		panic("operations were lost")
	}
	rec := &Recording{Images: []RecordedImage{{Definition: def}}, locals: map[string]Local{"context": {Files: map[string][]byte{"a": []byte("1")}}}}
	g, err := rec.Graph(context.Background())
	if err != nil {
		return nil, err
	}
	g.Identity()
	g.Volatile()
	if err := g.WriteJSON(io.Discard); err != nil {
		return g, err
	}
	return g, g.WriteDOT(io.Discard)
}

func source(id string, attrs map[string]string) *pb.Op {
	return &pb.Op{Op: &pb.Op_Source{Source: &pb.SourceOp{Identifier: id, Attrs: attrs}}}
}

// oddOps are operations that are well-formed messages, and less than what llb makes.
func oddOps() map[string]*pb.Op {
	return map[string]*pb.Op{
		"an exec without meta":      {Op: &pb.Op_Exec{Exec: &pb.ExecOp{}}},
		"an exec with mounts alone": {Op: &pb.Op_Exec{Exec: &pb.ExecOp{Mounts: []*pb.Mount{{}, {CacheOpt: &pb.CacheOpt{}}}}}},
		"a file operation of none":  {Op: &pb.Op_File{File: &pb.FileOp{}}},
		"an action of none":         {Op: &pb.Op_File{File: &pb.FileOp{Actions: []*pb.FileAction{{}}}}},
		"an operation of none":      {},
		"a local without patterns":  source("local://context", nil),
		"a local with broken ones":  source("local://context", map[string]string{pb.AttrIncludePatterns: "{"}),
		"a local of a bad pattern":  source("local://context", map[string]string{pb.AttrIncludePatterns: `["[a"]`}),
		"a local that nobody gave":  source("local://other", nil),
		"a source without a scheme": source("x", nil),
		"a merge":                   {Op: &pb.Op_Merge{Merge: &pb.MergeOp{Inputs: []*pb.MergeInput{{Input: 7}}}}},
		"a diff":                    {Op: &pb.Op_Diff{Diff: &pb.DiffOp{}}},
		"a build":                   {Op: &pb.Op_Build{Build: &pb.BuildOp{Builder: -1}}},
		"an input that is missing":  {Inputs: []*pb.Input{{Digest: "sha256:none"}}},
		"an input without digest":   {Inputs: []*pb.Input{{}}},
		"an owner of none":          {Op: &pb.Op_File{File: &pb.FileOp{Actions: []*pb.FileAction{{Action: &pb.FileAction_Copy{Copy: &pb.FileActionCopy{Owner: &pb.ChownOpt{User: &pb.UserOpt{}}}}}}}}},
	}
}

func TestOddDefinitions(t *testing.T) {
	for name, op := range oddOps() {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("panic: %v", p)
				}
			}()
			_, err := everything(chain(t, op))
			t.Logf("error: %v", err)
		})
	}
	for name, def := range map[string]*pb.Definition{
		"empty":                 {},
		"an operation alone":    {Def: [][]byte{{}}},
		"no message":            {Def: [][]byte{[]byte("\xff\xff")}},
		"metadata of no bytes":  {Def: chain(t, source("x", nil)).Def, Metadata: map[string]*pb.OpMetadata{"x": nil}},
		"positions of nothing":  {Def: chain(t, source("x", nil)).Def, Source: &pb.Source{Locations: map[string]*pb.Locations{"x": nil}}},
		"the last has no input": {Def: chain(t, source("x", nil)).Def[:1]},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := everything(def)
			t.Logf("error: %v", err)
		})
	}
	if _, _, err := parseDefinition(nil); err == nil {
		t.Error("no definition is taken for one")
	}
}

// Definitions come from frontends, which are other people's code when a foreign syntax is allowed.
func FuzzDefinition(f *testing.F) {
	add := func(def *pb.Definition) {
		data, err := proto.Marshal(def)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for name, op := range oddOps() {
		if strings.HasPrefix(name, "an exec") {
			continue // TestOddDefinitions has them, and outlives a panic
		}
		add(chain(f, op))
	}
	img := sample(f.TempDir())
	for _, p := range []string{"linux/amd64", "linux/arm64"} {
		plan := &Plan{Image: img, Locals: img.Locals}
		rec, err := NewRecorder(fixedImages{}, plan, platforms.MustParse(p)).Record(f.Context(), img.BuildFunc(Options{}))
		if err != nil {
			f.Fatal(err)
		}
		add(rec.Images[0].Definition)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		def := &pb.Definition{}
		if proto.Unmarshal(data, def) != nil {
			return
		}
		before := proto.CloneOf(def)
		one, err := everything(def)
		if !proto.Equal(before, def) {
			t.Error("the definition was changed")
		}
		if err != nil {
			return
		}
		two, err := everything(def)
		if err != nil || one.Identity() != two.Identity() {
			t.Errorf("the same definition has two identities (%v)", err)
		}
	})
}

// identityOf is the identity of one definition and one config.
func identityOf(t *testing.T, def *pb.Definition, config string) digest.Digest {
	t.Helper()
	rec := &Recording{Images: []RecordedImage{{Definition: def, Config: []byte(config), Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"}}}}
	return graph(t, rec).Identity()
}

// No two operations that build something else have one identity.
func TestIdentityCoversEveryField(t *testing.T) {
	exec := func(change func(*pb.ExecOp)) *pb.Op {
		e := &pb.ExecOp{Meta: &pb.Meta{Args: []string{"a"}, Env: []string{"A=1"}, Cwd: "/", User: "u", Hostname: "h"}, Mounts: []*pb.Mount{{Dest: "/", Output: 0}}}
		change(e)
		return &pb.Op{Op: &pb.Op_Exec{Exec: e}}
	}
	action := func(a pb.IsFileAction) *pb.Op {
		return &pb.Op{Op: &pb.Op_File{File: &pb.FileOp{Actions: []*pb.FileAction{{Input: -1, SecondaryInput: -1, Action: a}}}}}
	}
	seen := map[digest.Digest]string{}
	for name, op := range map[string]*pb.Op{
		"exec":       exec(func(*pb.ExecOp) {}),
		"args":       exec(func(e *pb.ExecOp) { e.Meta.Args = []string{"a", ""} }),
		"env":        exec(func(e *pb.ExecOp) { e.Meta.Env = []string{"A=2"} }),
		"cwd":        exec(func(e *pb.ExecOp) { e.Meta.Cwd = "/a" }),
		"user":       exec(func(e *pb.ExecOp) { e.Meta.User = "" }),
		"host":       exec(func(e *pb.ExecOp) { e.Meta.Hostname = "" }),
		"hosts":      exec(func(e *pb.ExecOp) { e.Meta.ExtraHosts = []*pb.HostIP{{Host: "a", IP: "1"}} }),
		"network":    exec(func(e *pb.ExecOp) { e.Network = pb.NetMode_NONE }),
		"security":   exec(func(e *pb.ExecOp) { e.Security = pb.SecurityMode_INSECURE }),
		"secret env": exec(func(e *pb.ExecOp) { e.Secretenv = []*pb.SecretEnv{{ID: "a", Name: "b"}} }),
		"secret": exec(func(e *pb.ExecOp) {
			e.Mounts = append(e.Mounts, &pb.Mount{Dest: "/s", SecretOpt: &pb.SecretOpt{ID: "a"}})
		}),
		"its mode": exec(func(e *pb.ExecOp) {
			e.Mounts = append(e.Mounts, &pb.Mount{Dest: "/s", SecretOpt: &pb.SecretOpt{ID: "a", Mode: 7}})
		}),
		"cache": exec(func(e *pb.ExecOp) {
			e.Mounts = append(e.Mounts, &pb.Mount{Dest: "/s", CacheOpt: &pb.CacheOpt{ID: "a"}})
		}),
		"mount":        exec(func(e *pb.ExecOp) { e.Mounts = append(e.Mounts, &pb.Mount{Dest: "/m", Selector: "/a"}) }),
		"selector":     exec(func(e *pb.ExecOp) { e.Mounts = append(e.Mounts, &pb.Mount{Dest: "/m", Selector: "/b"}) }),
		"readonly":     exec(func(e *pb.ExecOp) { e.Mounts = append(e.Mounts, &pb.Mount{Dest: "/m", Selector: "/b", Readonly: true}) }),
		"exit codes":   exec(func(e *pb.ExecOp) { e.Meta.ValidExitCodes = []int32{1} }),
		"mkfile":       action(&pb.FileAction_Mkfile{Mkfile: &pb.FileActionMkFile{Path: "/a", Data: []byte{0xff}}}),
		"its data":     action(&pb.FileAction_Mkfile{Mkfile: &pb.FileActionMkFile{Path: "/a", Data: []byte{0xfe}}}),
		"its owner":    action(&pb.FileAction_Mkfile{Mkfile: &pb.FileActionMkFile{Path: "/a", Owner: &pb.ChownOpt{User: &pb.UserOpt{User: &pb.UserOpt_ByID{ByID: 1}}}}}),
		"a named one":  action(&pb.FileAction_Mkfile{Mkfile: &pb.FileActionMkFile{Path: "/a", Owner: &pb.ChownOpt{User: &pb.UserOpt{User: &pb.UserOpt_ByName{ByName: &pb.NamedUserOpt{Name: "1"}}}}}}),
		"mkdir":        action(&pb.FileAction_Mkdir{Mkdir: &pb.FileActionMkDir{Path: "/a"}}),
		"rm":           action(&pb.FileAction_Rm{Rm: &pb.FileActionRm{Path: "/a"}}),
		"symlink":      action(&pb.FileAction_Symlink{Symlink: &pb.FileActionSymlink{Oldpath: "/a", Newpath: "/b"}}),
		"its target":   action(&pb.FileAction_Symlink{Symlink: &pb.FileActionSymlink{Oldpath: "/c", Newpath: "/b"}}),
		"its place":    action(&pb.FileAction_Symlink{Symlink: &pb.FileActionSymlink{Oldpath: "/a", Newpath: "/d"}}),
		"copy":         action(&pb.FileAction_Copy{Copy: &pb.FileActionCopy{Src: "/a", Dest: "/b"}}),
		"its modes":    action(&pb.FileAction_Copy{Copy: &pb.FileActionCopy{Src: "/a", Dest: "/b", ModeStr: "u=r"}}),
		"its excludes": action(&pb.FileAction_Copy{Copy: &pb.FileActionCopy{Src: "/a", Dest: "/b", ExcludePatterns: []string{"x"}}}),
		"platform":     {Platform: &pb.Platform{OS: "linux", Architecture: "arm64"}, Op: exec(func(*pb.ExecOp) {}).Op},
		"image":        source("docker-image://a@sha256:1", nil),
		"another":      source("docker-image://a@sha256:2", nil),
		"its layers":   source("docker-image://a@sha256:2", map[string]string{pb.AttrImageLayerLimit: "1"}),
		"url":          source("https://a", map[string]string{pb.AttrHTTPChecksum: "sha256:1"}),
		"its checksum": source("https://a", map[string]string{pb.AttrHTTPChecksum: "sha256:2"}),
	} {
		id := identityOf(t, chain(t, op), "")
		if other, dup := seen[id]; dup {
			t.Errorf("%q and %q have the same identity", name, other)
		}
		seen[id] = name
	}
	same := func(name string, a, b *pb.Op) {
		if identityOf(t, chain(t, a), "") != identityOf(t, chain(t, b), "") {
			t.Errorf("%s changes the identity", name)
		}
	}
	same("a proxy", exec(func(*pb.ExecOp) {}), exec(func(e *pb.ExecOp) { e.Meta.ProxyEnv = &pb.ProxyEnv{HttpProxy: "http://user:canary@x"} }))
	cacheMount := func(id string) *pb.Op {
		return exec(func(e *pb.ExecOp) { e.Mounts = append(e.Mounts, &pb.Mount{Dest: "/c", CacheOpt: &pb.CacheOpt{ID: id}}) })
	}
	same("the name of a cache mount", cacheMount("a"), cacheMount("b"))
}

func TestIdentityCoversTheConfig(t *testing.T) {
	def := chain(t, source("docker-image://a@sha256:1", nil))
	seen := map[digest.Digest]string{}
	for _, config := range []string{
		``, `{}`, `{"config":{"Env":["A=1"]}}`, `{"config":{"Env":["A=2"]}}`, `{"config":{"User":"a"}}`,
		`{"config":{"Healthcheck":{"Interval":30000000000}}}`,
		// nanoseconds that a float64 cannot tell apart: 2501h59m59.25474099{2,3}s
		`{"config":{"Healthcheck":{"Interval":9007199254740992}}}`, `{"config":{"Healthcheck":{"Interval":9007199254740993}}}`,
	} {
		id := identityOf(t, def, config)
		if other, dup := seen[id]; dup {
			t.Errorf("%s and %s have the same identity", config, other)
		}
		seen[id] = config
	}
	if identityOf(t, def, `{"a":1,"b":{"c":"d"}}`) != identityOf(t, def, `{"b": {"c": "d"}, "a": 1}`) {
		t.Error("the order of keys changes the identity")
	}
	rec := &Recording{Images: []RecordedImage{{Definition: def, Config: []byte("{")}}}
	if _, err := rec.Graph(t.Context()); err == nil {
		t.Error("a config that is no JSON is taken")
	}
}

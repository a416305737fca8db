package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	containerdarchive "github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	continuity "github.com/containerd/continuity/fs"
	"github.com/containerd/continuity/sysx"
	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	fscopy "github.com/tonistiigi/fsutil/copy"
	fstypes "github.com/tonistiigi/fsutil/types"
	"google.golang.org/protobuf/proto"
)

// interpreter does what BuildKit's solver/llbsolver/file does for the file operations of a definition, with
// the library that it does it with.
type interpreter struct {
	t       *testing.T
	img     *llb.Image
	root    string                   // the tree that is worked on
	sources map[digest.Digest]string // local sources, as they arrived
}

func (in *interpreter) run() error {
	def := definition(in.t, in.img)
	if def == nil {
		return nil // the empty image
	}
	for _, data := range def.Def {
		op := &pb.Op{}
		check(in.t, proto.Unmarshal(data, op))
		d := digest.FromBytes(data)
		if src := op.GetSource(); src != nil {
			in.sources[d] = in.receive(src)
		}
		for _, a := range op.GetFile().GetActions() {
			if err := in.action(op, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive writes what is sent to a folder; everything belongs to who receives it.
func (in *interpreter) receive(src *pb.SourceOp) string {
	dir := in.t.TempDir()
	files := localFS(in.t, in.img, src)
	check(in.t, files.Walk(in.t.Context(), "", func(p string, e fs.DirEntry, err error) error {
		check(in.t, err)
		info, err := e.Info()
		check(in.t, err)
		to := filepath.Join(dir, p)
		switch {
		case info.IsDir():
			check(in.t, os.Mkdir(to, 0o700))
			return os.Chmod(to, info.Mode())
		case info.Mode()&fs.ModeSymlink != 0:
			return os.Symlink(info.Sys().(*fstypes.Stat).Linkname, to)
		}
		r, err := files.Open(p)
		check(in.t, err)
		defer r.Close()
		data, err := io.ReadAll(r)
		check(in.t, err)
		check(in.t, os.WriteFile(to, data, 0o600))
		for k, v := range info.Sys().(*fstypes.Stat).Xattrs {
			if strings.HasPrefix(k, "user.") {
				check(in.t, sysx.LSetxattr(to, k, v, 0))
			}
		}
		return os.Chmod(to, info.Mode())
	}))
	return dir
}

func (in *interpreter) action(op *pb.Op, a *pb.FileAction) error {
	switch a := a.Action.(type) {
	case *pb.FileAction_Mkdir:
		p, err := continuity.RootPath(in.root, a.Mkdir.Path)
		check(in.t, err)
		_, err = fscopy.MkdirAll(p, os.FileMode(a.Mkdir.Mode)&0o777, nil, stamp(a.Mkdir.Timestamp))
		return err
	case *pb.FileAction_Mkfile:
		p, err := continuity.RootPath(in.root, path.Join("/", a.Mkfile.Path))
		check(in.t, err)
		tmp := filepath.Join(filepath.Dir(p), ".tmp-mkfile")
		if err := os.WriteFile(tmp, a.Mkfile.Data, 0o600); err != nil {
			return err
		}
		check(in.t, os.Chmod(tmp, os.FileMode(a.Mkfile.Mode)&0o777))
		check(in.t, os.Chtimes(tmp, *stamp(a.Mkfile.Timestamp), *stamp(a.Mkfile.Timestamp)))
		return os.Rename(tmp, p)
	case *pb.FileAction_Copy:
		return in.copy(op, a.Copy, in.secondary(op))
	}
	in.t.Fatalf("an action of type %T", a.Action)
	return nil
}

// secondary is the local source that a copy reads: the one input that is a source.
func (in *interpreter) secondary(op *pb.Op) string {
	for _, i := range op.Inputs {
		if dir, ok := in.sources[digest.Digest(i.Digest)]; ok {
			return dir
		}
	}
	in.t.Fatal("a copy from nowhere")
	return ""
}

func (in *interpreter) copy(_ *pb.Op, a *pb.FileActionCopy, from string) error {
	chown := func(old *fscopy.User) (*fscopy.User, error) { return old, nil }
	if a.Owner != nil {
		u := fscopy.User{UID: int(a.Owner.User.GetByID()), GID: int(a.Owner.Group.GetByID())}
		chown = func(*fscopy.User) (*fscopy.User, error) { return &u, nil }
	}
	dest := path.Clean("/" + a.Dest)
	if strings.HasSuffix(a.Dest, "/") && dest != "/" {
		dest += "/"
	}
	return fscopy.Copy(in.t.Context(), from, path.Clean("/"+a.Src), in.root, dest, func(ci *fscopy.CopyInfo) {
		ci.Chown, ci.Utime, ci.ModeStr = chown, stamp(a.Timestamp), a.ModeStr
		ci.CopyDirContents, ci.FollowLinks, ci.AlwaysReplaceExistingDestPaths = a.DirCopyContents, a.FollowSymlink, a.AlwaysReplaceExistingDestPaths
		ci.IncludePatterns, ci.ExcludePatterns = a.IncludePatterns, a.ExcludePatterns
	})
}

func stamp(ns int64) *time.Time {
	t := time.Unix(0, ns)
	return &t
}

// assembled puts the code on the tree in root as ibuild does without a builder: facts, layers, unpacking.
func assembled(t *testing.T, img *llb.Image, root string) error {
	t.Helper()
	ctx := t.Context()
	list, err := codePaths(ctx, img, img.Steps, scratchConfig(t))
	check(t, err)
	facts := &Facts{}
	check(t, facts.look(ctx, &diskRef{dir: root}, list))
	layers, err := lay(t, *facts, img)
	if err != nil {
		return err
	}
	blobs, err := cache.Open(t.TempDir())
	check(t, err)
	store, err := blobs.Content()
	check(t, err)
	for _, l := range layers {
		if len(l.entries) == 0 {
			continue
		}
		layer, err := registry.BuildLayer(ctx, store, l.entries, registry.LayerOptions{ModTime: llb.CodeTime(nil)})
		check(t, err)
		r, err := store.ReaderAt(ctx, layer.Descriptor)
		check(t, err)
		plain, err := compression.DecompressStream(content.NewReader(r))
		check(t, err)
		var opts []containerdarchive.ApplyOpt
		if os.Getuid() != 0 {
			opts = append(opts, containerdarchive.WithNoSameOwner())
		}
		_, err = containerdarchive.Apply(ctx, root, plain, opts...)
		check(t, err)
		r.Close()
	}
	return nil
}

// tree lists a folder with all that an image says about its files.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	check(t, filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		check(t, err)
		info, err := e.Info()
		check(t, err)
		st := info.Sys().(*syscall.Stat_t)
		what := fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			check(t, err)
			what += " " + info.ModTime().UTC().Format(time.DateOnly) + " " + string(data)
			if v, err := sysx.LGetxattr(p, "user.ibuild"); err == nil {
				what += " user.ibuild=" + string(v)
			}
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			check(t, err)
			what += " -> " + to
		}
		rel, err := filepath.Rel(root, p)
		check(t, err)
		out[rel] = what
		return nil
	}))
	return out
}

// Where ibuild puts code on an environment by itself, the file tree is the one that a builder makes of the
// same definition; where that cannot be, it is left to the builder.
func TestAssembledEqualsBuilt(t *testing.T) {
	root := os.Getuid() == 0
	local := map[string]string{
		"src/main.py": "print(1)\n", "src/run": "x:#!/bin/sh\n", "src/deep/er/a": "a", "src/empty/": "", "src/l": "->main.py",
		"src/tmp/t": "t", "src/x.pyc": "junk", "one": "1", "abs": "->/etc/passwd",
	}
	folder := func(dst string) llb.Copy { return llb.Copy{Local: "context", Src: "src", Dst: dst, Dir: true} }
	file := func(dst string) llb.Copy { return llb.Copy{Local: "context", Src: "one", Dst: dst} }
	owned := func(c llb.Copy) llb.Copy { c.Owner = "1000:1001"; return c }
	for _, c := range []struct {
		name    string
		env     map[string]string
		modes   map[string]fs.FileMode // of the environment
		sources map[string]fs.FileMode // of the local folder
		attr    string                 // a file with an extended attribute
		root    bool                   // needs to be root
		steps   []llb.Step
		builder bool // it is known that this is the builder's
	}{
		{name: "new folders", steps: []llb.Step{folder("/app/code")}},
		{name: "an existing destination", env: map[string]string{"app/old": "o"}, steps: []llb.Step{folder("/app")}},
		{name: "an existing destination keeps its mode", env: map[string]string{"app/old": "o"}, modes: map[string]fs.FileMode{"app": 0o2750}, steps: []llb.Step{folder("/app")}},
		{name: "an existing folder below the destination", env: map[string]string{"app/deep/old": "o"}, steps: []llb.Step{folder("/app")}},
		{name: "an existing folder below the destination with a mode of its own", env: map[string]string{"app/deep/old": "o"},
			modes: map[string]fs.FileMode{"app/deep": 0o700}, steps: []llb.Step{folder("/app")}},
		{name: "the root, where /tmp is sticky", env: map[string]string{"tmp/": ""},
			modes: map[string]fs.FileMode{"tmp": 0o777 | fs.ModeSticky}, steps: []llb.Step{folder("/")}},
		{name: "an existing file", env: map[string]string{"app/main.py": "x:old"}, steps: []llb.Step{folder("/app")}},
		{name: "modes of a checkout", sources: map[string]fs.FileMode{"src/main.py": 0o600, "src/run": 0o711, "src/deep": 0o700, "src/empty": 0o777},
			steps: []llb.Step{folder("/app")}},
		{name: "special bits of files", sources: map[string]fs.FileMode{"src/run": 0o755 | fs.ModeSetuid, "src/main.py": 0o644 | fs.ModeSetgid},
			steps: []llb.Step{folder("/app")}},
		{name: "special bits of folders", sources: map[string]fs.FileMode{"src/deep": 0o755 | fs.ModeSetgid, "src/empty": 0o777 | fs.ModeSticky},
			steps: []llb.Step{folder("/app")}},
		{name: "executable for others only", sources: map[string]fs.FileMode{"one": 0o645}, steps: []llb.Step{file("/one")}},
		{name: "an extended attribute", attr: "src/main.py", steps: []llb.Step{folder("/app")}},
		{name: "excluded files", steps: []llb.Step{llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true, Exclude: []string{"**/*.pyc", "deep/er"}}}},
		{name: "everything excluded but a file far down", steps: []llb.Step{llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true, Exclude: []string{"**", "!deep/er/a"}}}},
		{name: "the whole folder", steps: []llb.Step{llb.Copy{Local: "context", Src: ".", Dst: "/app", Dir: true}}},
		{name: "one file in a new folder", steps: []llb.Step{file("/a/b/c")}},
		{name: "one file over another", env: map[string]string{"etc/one": "x:old"}, steps: []llb.Step{file("/etc/one")}},
		{name: "one link", steps: []llb.Step{llb.Copy{Local: "context", Src: "abs", Dst: "/etc/abs"}}},
		{name: "an owner", root: true, steps: []llb.Step{owned(folder("/app"))}},
		{name: "an owner, in new parents", root: true, steps: []llb.Step{owned(folder("/srv/team/app"))}},
		{name: "an owner of a file in new parents", root: true, steps: []llb.Step{owned(file("/srv/team/one"))}},
		{name: "an owner in an existing folder", root: true, env: map[string]string{"app/deep/old": "o"}, steps: []llb.Step{owned(folder("/app"))}},
		{name: "an owner of folders that code made before", root: true, steps: []llb.Step{folder("/app"), owned(folder("/app"))}},
		{name: "and back to root", root: true, steps: []llb.Step{owned(folder("/app")), folder("/app")}},
		{name: "workdirs", env: map[string]string{"srv/": ""}, steps: []llb.Step{llb.Workdir{Path: "/srv"}, llb.Workdir{Path: "a/b"}, file("x")}},
		{name: "a workdir that is there with its mode", env: map[string]string{"srv/": ""}, modes: map[string]fs.FileMode{"srv": 0o700}, steps: []llb.Step{llb.Workdir{Path: "/srv"}}},
		{name: "the workdir that it is already", steps: []llb.Step{llb.Workdir{Path: "/srv", Exists: true}, llb.Workdir{Path: "/srv"}}},
		{name: "written files", env: map[string]string{"etc/a": "x:old"}, steps: []llb.Step{
			llb.WriteFile{Dst: "/etc/a", Data: []byte("new")}, llb.WriteFile{Dst: "/etc/b/c", Data: []byte("2"), Mode: 0o750}, llb.WriteFile{Dst: "/etc/s", Mode: 0o4755}}},
		{name: "steps on each other", steps: []llb.Step{folder("/app"), file("/app/main.py"), llb.WriteFile{Dst: "/app/run", Data: []byte("r")}, folder("/app/deep")}},
		{name: "a link for a file", env: map[string]string{"app/l": "file"}, steps: []llb.Step{folder("/app")}, builder: true},
		{name: "a linked parent", env: map[string]string{"usr/lib/": "", "lib": "->usr/lib"}, steps: []llb.Step{folder("/lib/app")}, builder: true},
		{name: "a linked folder below", env: map[string]string{"app/other/": "", "app/deep": "->other"}, steps: []llb.Step{file("/app/deep/x")}, builder: true},
		{name: "a folder where the file goes", env: map[string]string{"data/": ""}, steps: []llb.Step{file("/data")}, builder: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && !root {
				t.Skip("only root can give files away")
			}
			dir := source(t, local)
			for p, m := range c.sources {
				check(t, os.Chmod(filepath.Join(dir, p), m))
			}
			if c.attr != "" {
				if err := sysx.LSetxattr(filepath.Join(dir, c.attr), "user.ibuild", []byte("1"), 0); err != nil {
					t.Skip(err)
				}
			}
			one, two := source(t, c.env), source(t, c.env)
			for p, m := range c.modes {
				check(t, os.Chmod(filepath.Join(one, p), m))
				check(t, os.Chmod(filepath.Join(two, p), m))
			}
			img := codeOf(dir, c.steps...)
			err := assembled(t, img, one)
			var needs *needsBuilder
			if errors.As(err, &needs) {
				t.Logf("left to the builder: %v", err)
				if needs.unknown {
					t.Error("facts were looked at, and are unknown")
				}
				return
			}
			check(t, err)
			if c.builder {
				t.Error("it was not left to the builder")
			}
			in := &interpreter{t: t, img: img, root: two, sources: map[digest.Digest]string{}}
			check(t, in.run())
			if d := cmp.Diff(tree(t, two), tree(t, one)); d != "" {
				t.Errorf("the tree is another (-builder +assembled):\n%s", d)
			}
		})
	}
}

// A source that is of another kind than the step says must not become a layer that only looks right.
func TestKindOfTheSource(t *testing.T) {
	dir := source(t, map[string]string{"folder/a": "1", "file": "2"})
	for name, s := range map[string]llb.Copy{
		"a folder as a file": {Local: "context", Src: "folder", Dst: "/x"},
		"a file as a folder": {Local: "context", Src: "file", Dst: "/x", Dir: true},
	} {
		layers, err := lay(t, listing(), codeOf(dir, s))
		if err == nil {
			t.Errorf("%s becomes the layer %v", name, paths(layers))
		}
	}
}

// A path can be longer than a tar header has room for, and have any name.
func TestOddNames(t *testing.T) {
	long := strings.Repeat("long/", 60) + "file"
	dir := source(t, map[string]string{"src/" + long: "1", "src/ü \n\t": "2", "src/!x": "3", "src/#y": "4"})
	root := t.TempDir()
	check(t, assembled(t, codeOf(dir, llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true}), root))
	for p, want := range map[string]string{long: "1", "ü \n\t": "2", "!x": "3", "#y": "4"} {
		if data, err := os.ReadFile(filepath.Join(root, "app", p)); err != nil || string(data) != want {
			t.Errorf("%q: %q, %v", p, data, err)
		}
	}
	for _, name := range []string{"!x", " x", "#y", "x "} {
		d := source(t, map[string]string{name: "1", "x": "2"})
		root := t.TempDir()
		check(t, assembled(t, codeOf(d, llb.Copy{Local: "context", Src: name, Dst: "/f"}), root))
		if data, err := os.ReadFile(filepath.Join(root, "f")); err != nil || string(data) != "1" {
			t.Errorf("the file %q alone: %q, %v", name, data, err)
		}
	}
	// a name that would delete a file when the image is unpacked
	d := source(t, map[string]string{"src/.wh.passwd": ""})
	layers, err := lay(t, listing("etc/", "etc/passwd"), codeOf(d, llb.Copy{Local: "context", Src: "src", Dst: "/etc", Dir: true}))
	check(t, err)
	blobs, err := cache.Open(t.TempDir())
	check(t, err)
	store, err := blobs.Content()
	check(t, err)
	if _, err := registry.BuildLayer(t.Context(), store, layers[0].entries, registry.LayerOptions{}); err == nil {
		t.Error("a whiteout was made of a file")
	}
}

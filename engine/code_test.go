package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/tonistiigi/fsutil"
	"google.golang.org/protobuf/proto"
)

// codeOf is an image that is nothing but code steps.
func codeOf(dir string, steps ...llb.Step) *llb.Image {
	return &llb.Image{Name: "code", Steps: steps, Locals: map[string]llb.Local{"context": {Dir: dir}}}
}

func scratchConfig(t *testing.T) *llb.Config {
	t.Helper()
	c, err := llb.ParseConfig(nil, amd64)
	check(t, err)
	return c
}

// lay puts code on a tree that is known by facts.
func lay(t *testing.T, facts Facts, img *llb.Image) ([]codeLayer, error) {
	t.Helper()
	tree := &codeTree{facts: &facts, added: map[string]Node{}}
	return tree.layers(t.Context(), img, img.Steps, scratchConfig(t))
}

// paths of all entries of all layers, a slash behind those of folders.
func paths(layers []codeLayer) [][]string {
	var out [][]string
	for _, l := range layers {
		list := []string{}
		for _, e := range l.entries {
			p := e.Path
			if e.Mode.IsDir() {
				p += "/"
			}
			list = append(list, p)
		}
		out = append(out, list)
	}
	return out
}

// The rule of design.md 1.6: an entry for a folder only where the code makes it.
func TestCodeLayers(t *testing.T) {
	dir := source(t, map[string]string{"src/a": "a", "src/deep/er/b": "b", "src/empty/": "", "src/l": "->a", "one": "1"})
	folder := func(dst string) llb.Step { return llb.Copy{Local: "context", Src: "src", Dst: dst, Dir: true} }
	file := func(dst string) llb.Step { return llb.Copy{Local: "context", Src: "one", Dst: dst} }
	for _, c := range []struct {
		name    string
		tree    []string
		steps   []llb.Step
		want    [][]string
		why     string // of the builder's being needed
		unknown bool
	}{
		{name: "all folders are new", steps: []llb.Step{folder("/app/code")},
			want: [][]string{{"app/", "app/code/", "app/code/a", "app/code/deep/", "app/code/deep/er/", "app/code/deep/er/b", "app/code/empty/", "app/code/l"}}},
		{name: "the destination is there", tree: []string{"app/"}, steps: []llb.Step{folder("/app")},
			want: [][]string{{"app/a", "app/deep/", "app/deep/er/", "app/deep/er/b", "app/empty/", "app/l"}}},
		{name: "its parent is there", tree: []string{"srv/"}, steps: []llb.Step{folder("/srv/app")},
			want: [][]string{{"srv/app/", "srv/app/a", "srv/app/deep/", "srv/app/deep/er/", "srv/app/deep/er/b", "srv/app/empty/", "srv/app/l"}}},
		{name: "the root", steps: []llb.Step{folder("/")},
			want: [][]string{{"a", "deep/", "deep/er/", "deep/er/b", "empty/", "l"}}},
		{name: "a file replaces a file", tree: []string{"app/", "app/one"}, steps: []llb.Step{file("/app/one")},
			want: [][]string{{"app/one"}}},
		{name: "relative to the workdir as it moves", steps: []llb.Step{llb.Workdir{Path: "/w"}, file("x"), llb.Workdir{Path: "v"}, file("y")},
			want: [][]string{{"w/"}, {"w/x"}, {"w/v/"}, {"w/v/y"}}},
		{name: "steps build on each other", steps: []llb.Step{file("/a/b/1"), file("/a/b/2"), file("/a/b/1"), folder("/a")},
			want: [][]string{{"a/", "a/b/", "a/b/1"}, {"a/b/2"}, {"a/b/1"}, {"a/a", "a/deep/", "a/deep/er/", "a/deep/er/b", "a/empty/", "a/l"}}},
		{name: "settings make no layer", steps: []llb.Step{llb.Env{Key: "A"}, llb.Label{Key: "l"}, llb.User{Name: "u"}, llb.Entrypoint{}, llb.Cmd{}, llb.PathPrepend{Dir: "/x"}},
			want: [][]string{{}, {}, {}, {}, {}, {}}},
		{name: "a workdir that is there", tree: []string{"w/"}, steps: []llb.Step{llb.Workdir{Path: "/w"}}, want: [][]string{{}}},
		{name: "the root as a workdir", steps: []llb.Step{llb.Workdir{Path: "/"}}, want: [][]string{{}}},
		{name: "dots", steps: []llb.Step{file("/a/../b/./c")}, want: [][]string{{"b/", "b/c"}}},
		{name: "a written file", tree: []string{"etc/"}, steps: []llb.Step{llb.WriteFile{Dst: "/etc/x/y", Data: []byte("1")}},
			want: [][]string{{"etc/x/", "etc/x/y"}}},

		{name: "a file in a folder", tree: []string{"data/"}, steps: []llb.Step{file("/data")}, want: [][]string{{"data/one"}}},
		{name: "a file in the root", steps: []llb.Step{file("/")}, want: [][]string{{"one"}}},
		{name: "a linked parent", tree: []string{"lib@usr/lib", "usr/", "usr/lib/"}, steps: []llb.Step{file("/lib/one")}, want: [][]string{{"usr/lib/one"}}},
		{name: "an absolute link", tree: []string{"lib@/usr/lib", "usr/", "usr/lib/"}, steps: []llb.Step{file("/lib/x/one")}, want: [][]string{{"usr/lib/x/", "usr/lib/x/one"}}},
		{name: "a link of a link", tree: []string{"a@b", "b@/c/d", "c/", "c/d/"}, steps: []llb.Step{folder("/a")},
			want: [][]string{{"c/d/a", "c/d/deep/", "c/d/deep/er/", "c/d/deep/er/b", "c/d/empty/", "c/d/l"}}},
		{name: "a link up", tree: []string{"var/", "var/run@../run", "run/"}, steps: []llb.Step{file("/var/run/one")}, want: [][]string{{"run/one"}}},
		{name: "a link beyond the root", tree: []string{"up@../../../etc", "etc/"}, steps: []llb.Step{file("/up/one")}, want: [][]string{{"etc/one"}}},
		{name: "a link to nothing", tree: []string{"app@srv/app"}, steps: []llb.Step{file("/app/one")}, want: [][]string{{"srv/", "srv/app/", "srv/app/one"}}},
		{name: "a linked file", tree: []string{"etc/", "etc/one@/data/one", "data/", "data/one"}, steps: []llb.Step{file("/etc/one")}, want: [][]string{{"data/one"}}},
		{name: "a linked workdir", tree: []string{"app@srv", "srv/"}, steps: []llb.Step{llb.Workdir{Path: "/app"}, file("one")}, want: [][]string{{}, {"srv/one"}}},
		{name: "a link for a file", tree: []string{"app/", "app/a@x"}, steps: []llb.Step{folder("/app")}, want: [][]string{{"app/a", "app/deep/", "app/deep/er/", "app/deep/er/b", "app/empty/", "app/l"}}},
		{name: "a file for a link", tree: []string{"app/", "app/l"}, steps: []llb.Step{folder("/app")}, want: [][]string{{"app/a", "app/deep/", "app/deep/er/", "app/deep/er/b", "app/empty/", "app/l"}}},
		{name: "behind a link of the code", steps: []llb.Step{folder("/app"), file("/app/l")},
			want: [][]string{{"app/", "app/a", "app/deep/", "app/deep/er/", "app/deep/er/b", "app/empty/", "app/l"}, {"app/a"}}},
		{name: "a folder of the code as the folder of a file", steps: []llb.Step{folder("/app"), file("/app/deep")},
			want: [][]string{{"app/", "app/a", "app/deep/", "app/deep/er/", "app/deep/er/b", "app/empty/", "app/l"}, {"app/deep/one"}}},

		{name: "a link to somewhere far down", tree: []string{"a@" + strings.Repeat("b/", maxDepth+1)}, steps: []llb.Step{file("/a/x")},
			why: "/a is behind too many folders or links in the environment image"},
		{name: "links in a circle", tree: []string{"a@b", "b@a"}, steps: []llb.Step{file("/a/x")}, why: "/a is behind too many folders or links in the environment image"},
		{name: "a link to itself", tree: []string{"a@a"}, steps: []llb.Step{file("/a/x")}, why: "/a is behind too many folders or links in the environment image"},
		{name: "ways up behind several links", tree: []string{"a@b", "b@../c"}, steps: []llb.Step{file("/a/x")}, why: "/a is behind too many folders or links in the environment image"},
		{name: "a file for a folder", tree: []string{"app"}, steps: []llb.Step{folder("/app")}, why: "/app is in the environment image and not a folder"},
		{name: "a file for a folder below", tree: []string{"app/", "app/deep"}, steps: []llb.Step{folder("/app")}, why: "/app/deep is in the environment image and not a folder"},
		{name: "a link for a folder below", tree: []string{"app/", "app/deep@x", "app/x/"}, steps: []llb.Step{folder("/app")}, why: "/app/deep is in the environment image and not a folder"},
		{name: "a folder for a file", tree: []string{"app/", "app/a/"}, steps: []llb.Step{folder("/app")}, why: "/app/a is in the environment image and not a file"},
		{name: "a folder for a file, alone", tree: []string{"one/", "one/one/"}, steps: []llb.Step{file("/one")}, why: "/one/one is in the environment image and not a file"},
		{name: "a folder for a written file", tree: []string{"etc/"}, steps: []llb.Step{llb.WriteFile{Dst: "/etc"}}, why: "/etc is in the environment image and not a file"},
		{name: "a written file behind a link to nothing", tree: []string{"x@/none/x"}, steps: []llb.Step{llb.WriteFile{Dst: "/x"}}, why: "/x is a link to /none/x in the environment image, and there is no such folder"},
		{name: "a file of the code as a folder", steps: []llb.Step{folder("/app"), file("/app/a/one")}, why: "/app/a is in the environment image and not a folder"},
		{name: "a folder with a mode", tree: []string{"app/", "app/deep/!700 0 0"}, steps: []llb.Step{folder("/app")}, why: "the folder /app/deep of the environment image has a mode or owner of its own"},
		{name: "a folder that is not listed", tree: []string{"app/?"}, steps: []llb.Step{file("/app/one")}, why: "it is not known what /app/one is in the environment image", unknown: true},
		{name: "below a folder that is not listed", tree: []string{"app/", "app/deep/?"}, steps: []llb.Step{folder("/app")}, why: "it is not known what /app/deep/er is in the environment image", unknown: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			layers, err := lay(t, listing(c.tree...), codeOf(dir, c.steps...))
			var needs *needsBuilder
			if c.why != "" {
				if !errors.As(err, &needs) || needs.why != c.why || needs.unknown != c.unknown {
					t.Errorf("got %#v, want %q (unknown %v)", err, c.why, c.unknown)
				}
				return
			}
			check(t, err)
			if d := cmp.Diff(c.want, paths(layers)); d != "" {
				t.Errorf("entries (-want +got):\n%s", d)
			}
		})
	}
}

// Owners are what BuildKit makes of them: see readUser in its solver/llbsolver/ops/user_linux.go.
func TestOwner(t *testing.T) {
	users := &Users{
		Passwd: []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:\n\n1000:x:7:8::/:\nodd:x:9:x::/:\napp:x:5:5::/:\nhuge:x:4294967295:1::/:"),
		Group:  []byte("# group\nroot:x:0:\nstaff:x:50:app\napp:x:1002:\n"),
	}
	for _, c := range []struct {
		owner    string
		uid, gid int
	}{
		{"0:0", 0, 0}, {"1000:1001", 1000, 1001}, {"65534:65534", 65534, 65534}, {"1000", 1000, 1000}, {"root", 0, 0}, {"root:50", 0, 50},
		{"app", 1000, 1001}, {"app:app", 1000, 1002}, {"app:staff", 1000, 50}, {"app:7", 1000, 7}, {"7:staff", 7, 50}, {"odd", 9, 0},
		{"nobody", 0, 0}, {"nobody:staff", 0, 50}, {"app:nobody", 1000, 1001}, {"7:nobody", 7, 7}, {"1:2:3", 1, 1},
		{":", 0, 0}, {"1:", 1, 0}, {":1", 0, 1}, {"0x10:0", 0, 0}, {"+5:6", 5, 6}, {"4294967296:0", 0, 0},
	} {
		tree := &codeTree{facts: &Facts{Folders: listing("etc/").Folders, Users: users}, added: map[string]Node{}}
		if got, err := tree.owner(t.Context(), c.owner); err != nil || got != (owner{c.uid, c.gid, true}) {
			t.Errorf("%q is %+v, %v; want %d:%d", c.owner, got, err, c.uid, c.gid)
		}
	}
	var needs *needsBuilder
	for _, bad := range []string{"-1:0", "0:-1", "huge"} {
		tree := &codeTree{facts: &Facts{Folders: listing("etc/").Folders, Users: users}, added: map[string]Node{}}
		if got, err := tree.owner(t.Context(), bad); !errors.As(err, &needs) || needs.unknown {
			t.Errorf("%q is %+v, %v", bad, got, err)
		}
	}
	none := &codeTree{facts: &Facts{Folders: listing("etc/").Folders}, added: map[string]Node{}}
	if _, err := none.owner(t.Context(), "app"); !errors.As(err, &needs) || !needs.unknown {
		t.Errorf("nobody has looked at the users: %v", err)
	}
	if got, err := none.owner(t.Context(), ""); err != nil || got.set {
		t.Errorf("no owner: %+v, %v", got, err)
	}
	ours := codeOf("", llb.WriteFile{Dst: "/etc/passwd", Data: []byte("app:x:1:1::/:\n")}, llb.Copy{Local: "context", Src: "x", Dst: "/x", Owner: "app"})
	if _, err := lay(t, Facts{Folders: listing("etc/").Folders, Users: users}, ours); !errors.As(err, &needs) || !strings.Contains(needs.why, "which the code brings") {
		t.Errorf("users that the code brings: %v", err)
	}
}

// What a step brings is what the builder is sent for the same step, with the library that sends it.
func TestWhatIsBroughtIsWhatTheBuilderIsSent(t *testing.T) {
	dir := source(t, map[string]string{
		"src/a.py": "1", "src/a.pyc": "2", "src/deep/b.pyc": "3", "src/deep/c.py": "4", "src/only/x.pyc": "5", "src/empty/": "",
		"src/keep/y.pyc": "6", "src/.git/config": "7", "src/link": "->a.py", "srcs/other": "8", "one": "9", "we ird[1]*?.txt": "10",
		"c++/a.py": "11", "c++/a.pyc": "12", "x (1)/a.py": "13", "x (1)/deep/a.pyc": "14", "a{1}/a.pyc": "15", "a{1}/b.py": "16", "b^c/a.pyc": "17", "b^c/b.py": "18",
	})
	for _, c := range []struct {
		step llb.Copy
		want []string
	}{
		{llb.Copy{Src: "src", Dir: true}, []string{".", ".git", ".git/config", "a.py", "a.pyc", "deep", "deep/b.pyc", "deep/c.py", "empty", "keep", "keep/y.pyc", "link", "only", "only/x.pyc"}},
		{llb.Copy{Src: "src/", Dir: true, Exclude: []string{"**/*.pyc", "**/.git"}}, []string{".", "a.py", "deep", "deep/c.py", "empty", "keep", "link", "only"}},
		{llb.Copy{Src: "./src", Dir: true, Exclude: []string{"**/*.pyc", "!keep/y.pyc", ".git"}}, []string{".", "a.py", "deep", "deep/c.py", "empty", "keep", "keep/y.pyc", "link", "only"}},
		{llb.Copy{Src: "src", Dir: true, Exclude: []string{"**", "!deep"}}, []string{".", "deep", "deep/b.pyc", "deep/c.py"}},
		{llb.Copy{Src: "src/deep", Dir: true}, []string{".", "b.pyc", "c.py"}},
		{llb.Copy{Src: "one"}, []string{"."}},
		{llb.Copy{Src: "one", Exclude: []string{"**"}}, []string{"."}}, // for folders only
		{llb.Copy{Src: "we ird[1]*?.txt"}, []string{"."}},
		{llb.Copy{Src: ".", Dir: true, Exclude: []string{"src", "*c*", "x*", "a*", "we*"}}, []string{"one"}},
		// names with characters that mean something in a regular expression
		{llb.Copy{Src: "c++", Dir: true, Exclude: []string{"**/*.pyc"}}, []string{".", "a.py"}},
		{llb.Copy{Src: "x (1)", Dir: true, Exclude: []string{"**/*.pyc"}}, []string{".", "a.py", "deep"}},
		{llb.Copy{Src: "a{1}", Dir: true, Exclude: []string{"**/*.pyc"}}, []string{".", "b.py"}},
		{llb.Copy{Src: "b^c", Dir: true, Exclude: []string{"**/*.pyc"}}, []string{".", "b.py"}},
	} {
		c.step.Local, c.step.Dst = "context", "/dst"
		t.Run(fmt.Sprintf("%s %v", c.step.Src, c.step.Exclude), func(t *testing.T) {
			img := codeOf(dir, c.step)
			brings, err := img.SourceFiles(t.Context(), c.step)
			check(t, err)
			var got []string
			for _, rel := range brought(brings, c.step) {
				got = append(got, rel)
			}
			slices.Sort(got)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("brought (-want +got):\n%s", d)
			}
			sent := sentFor(t, img)
			src := path.Clean(c.step.Src)
			var files []string
			for _, p := range sent {
				if rel, ok := below(p, src); ok {
					files = append(files, rel)
				}
			}
			slices.Sort(files)
			if d := cmp.Diff(files, got); d != "" {
				t.Errorf("the builder is sent other files than the step brings here (-sent +brought):\n%s", d)
			}
		})
	}
}

func TestCopyErrors(t *testing.T) {
	dir := source(t, map[string]string{"src/a": "1"})
	for want, step := range map[string]llb.Copy{
		"missing: there is no such file":                                     {Local: "context", Src: "missing", Dst: "/x"},
		`src: "other": the definition reads a local source that nobody gave`: {Local: "other", Src: "src", Dst: "/x"},
		"src: a folder is given as a file, or a file as a folder":            {Local: "context", Src: "src", Dst: "/x"},
		"src/a: a folder is given as a file, or a file as a folder":          {Local: "context", Src: "src/a", Dst: "/x", Dir: true},
	} {
		if _, err := lay(t, listing(), codeOf(dir, step)); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	step := llb.Copy{Local: "context", Src: "src", Dir: true}
	if _, err := codeOf(dir, step).SourceFiles(ctx, step); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled walk: %v", err)
	}
}

// definition is what llb asks a builder to do for the image.
func definition(t *testing.T, img *llb.Image) *pb.Definition {
	t.Helper()
	plan := &llb.Plan{Image: img, Locals: img.Locals}
	rec, err := llb.NewRecorder(nil, plan, amd64).Record(t.Context(), img.BuildFunc(llb.Options{}))
	check(t, err)
	return rec.Images[0].Definition
}

// localFS is what the session sends for a local source operation.
func localFS(t *testing.T, img *llb.Image, src *pb.SourceOp) fsutil.FS {
	t.Helper()
	base, err := img.Locals[strings.TrimPrefix(src.Identifier, "local://")].FS()
	check(t, err)
	opt := &fsutil.FilterOpt{}
	for attr, list := range map[string]*[]string{pb.AttrIncludePatterns: &opt.IncludePatterns, pb.AttrExcludePatterns: &opt.ExcludePatterns} {
		if v := src.Attrs[attr]; v != "" {
			check(t, json.Unmarshal([]byte(v), list))
		}
	}
	files, err := fsutil.NewFilterFS(base, opt)
	check(t, err)
	return files
}

func sentFor(t *testing.T, img *llb.Image) []string {
	t.Helper()
	var out []string
	for _, data := range definition(t, img).Def {
		op := &pb.Op{}
		check(t, proto.Unmarshal(data, op))
		src := op.GetSource()
		if src == nil {
			continue
		}
		check(t, localFS(t, img, src).Walk(t.Context(), "", func(p string, _ fs.DirEntry, err error) error {
			out = append(out, filepath.ToSlash(p))
			return err
		}))
	}
	return out
}

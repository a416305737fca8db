package llb

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// unmasked shows all.
func unmasked(text []byte) []byte { return text }

// chainOf is an outline in which each step comes after the one before it, the first one being an image.
func chainOf(commands ...string) *Outline {
	img := OutlineImage{Platform: "linux/amd64"}
	before := digest.Digest("")
	for i, c := range commands {
		s := OutlineStep{Name: c, Kind: StepRun, Own: digest.FromString(c), Parts: []Part{{What: "command", Value: c}}}
		if i == 0 {
			name, _, _ := strings.Cut(c, "@")
			s.Kind, s.Parts = StepImage, []Part{{What: "image", Value: name}, {What: "digest", Value: c}}
		} else {
			s.Inputs = []int{i - 1}
			s.Name = fmt.Sprintf("[%d/%d] RUN %s", i+1, len(commands), c) // as BuildKit's Dockerfile frontend counts
		}
		s.Digest = digest.FromString(before.String() + c)
		before = s.Digest
		img.Steps = append(img.Steps, s)
	}
	return &Outline{Images: []OutlineImage{img}}
}

// statuses is one word per step of the first image.
func statuses(d *GraphDiff) string {
	var list []string
	for _, s := range d.Images[0].Steps {
		list = append(list, string(s.Status))
	}
	return strings.Join(list, " ")
}

func TestDiffOfChains(t *testing.T) {
	const base = "docker.io/library/debian:12@sha256:1"
	old := []string{base, "apt-get install -y git curl", "make world", "pip install numpy pandas", "echo done"}
	with := func(edit func([]string) []string) []string { return edit(slices.Clone(old)) }
	for name, c := range map[string]struct {
		now  []string
		want string
	}{
		"nothing":             {old, "same same same same same"},
		"a word":              {with(func(l []string) []string { l[1] = "apt-get install -y git wget"; return l }), "same changed again again again"},
		"put in":              {with(func(l []string) []string { return slices.Insert(l, 2, "useradd me") }), "same same new again again again"},
		"put in first":        {with(func(l []string) []string { return slices.Insert(l, 1, "useradd me") }), "same new again again again again"},
		"taken out":           {with(func(l []string) []string { return slices.Delete(l, 2, 3) }), "same same gone again again"},
		"at the end":          {with(func(l []string) []string { return append(l, "echo more of it") }), "same same same same same new"},
		"last one taken out":  {with(func(l []string) []string { return l[:4] }), "same same same same gone"},
		"base moved":          {with(func(l []string) []string { l[0] = "docker.io/library/debian:12@sha256:2"; return l }), "changed again again again again"},
		"another tag":         {with(func(l []string) []string { l[0] = "docker.io/library/debian:13@sha256:3"; return l }), "changed again again again again"},
		"another base":        {with(func(l []string) []string { l[0] = "docker.io/library/alpine:3@sha256:3"; return l }), "gone new again again again again"},
		"two words":           {with(func(l []string) []string { l[1] += " vim"; l[3] += " torch"; return l }), "same changed again changed again"},
		"put in and changed":  {with(func(l []string) []string { l[3] += " torch"; return slices.Insert(l, 2, "useradd me") }), "same same new again changed again"},
		"another command":     {with(func(l []string) []string { l[2] = "cargo build --release"; return l }), "same same gone new again again"},
		"swapped":             {with(func(l []string) []string { l[1], l[2] = l[2], l[1]; return l }), "same again again again again"},
		"everything is other": {[]string{"docker.io/library/alpine:3@sha256:3", "apk add x"}, "gone gone gone gone gone new new"},
	} {
		d := Diff(chainOf(old...), chainOf(c.now...))
		if got := statuses(d); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if d.Same() != (name == "nothing") {
			t.Errorf("%s: same is %v", name, d.Same())
		}
	}
}

func TestDiffOfLongChains(t *testing.T) {
	var list []string
	for i := range 3000 {
		list = append(list, fmt.Sprintf("docker.io/a/b:c@%d", i))
	}
	now := slices.Insert(slices.Clone(list), 1500, "put in")
	got := Diff(chainOf(list...), chainOf(now...)).Images[0].Steps
	if n := count(got, StatusNew) + count(got, StatusGone); n != 1 || count(got, StatusSame) != 1500 {
		t.Errorf("%d steps are new or gone, %d the same", n, count(got, StatusSame))
	}
	for i := range now { // too much to align: found by what they do, or not at all
		if i%2 == 0 {
			now[i] = "changed " + now[i]
		}
	}
	got = Diff(chainOf(list...), chainOf(now...)).Images[0].Steps
	if count(got, StatusNew) != count(got, StatusGone)+1 || count(got, StatusAgain) == 0 {
		t.Errorf("%d new, %d gone, %d again", count(got, StatusNew), count(got, StatusGone), count(got, StatusAgain))
	}
}

func count(list []StepDiff, s Status) (n int) {
	for _, d := range list {
		if d.Status == s {
			n++
		}
	}
	return n
}

func TestDiffBlames(t *testing.T) {
	d := Diff(chainOf("b:1@1", "apt install git", "make it all", "echo done"), chainOf("b:1@1", "apt install git wget", "echo done"))
	steps := d.Images[0].Steps
	last := steps[len(steps)-1]
	if want := []string{"[2/3] RUN apt install git wget", "[3/4] RUN make it all"}; last.Status != StatusAgain || !slices.Equal(last.Because, want) {
		t.Errorf("%+v, want because of %q", last, want)
	}
}

func TestDiffOfPlatforms(t *testing.T) {
	one, two := chainOf("b:1@1", "x"), chainOf("b:1@1", "x")
	arm := two.Images[0]
	arm.Platform = "linux/arm64"
	two.Images = append(two.Images, arm)
	status := func(d *GraphDiff) (list []string) {
		for _, i := range d.Images {
			list = append(list, i.Platform+" "+string(i.Status))
		}
		return list
	}
	if got := status(Diff(one, two)); !slices.Equal(got, []string{"linux/amd64 same", "linux/arm64 new"}) {
		t.Errorf("one more: %v", got)
	}
	if got := status(Diff(two, one)); !slices.Equal(got, []string{"linux/amd64 same", "linux/arm64 gone"}) {
		t.Errorf("one less: %v", got)
	}
}

func TestDiffWords(t *testing.T) {
	for _, c := range []struct{ old, now, want string }{
		{"git curl", "git wget", "git [-curl-] {+wget+}"},
		{"a b c d e f g h i j", "a b c d e f g h i k", "… g h i [-j-] {+k+}"},
		{"x b c d e f g h i j", "y b c d e f g h i j", "[-x-] {+y+} b c d …"},
		{"x 1 2 3 4 5 6 7 8 9 y", "z 1 2 3 4 5 6 7 8 9 w", "[-x-] {+z+} 1 2 3 … 7 8 9 [-y-] {+w+}"},
		{"", "a b", "{+a b+}"},
		{"a b", "", "[-a b-]"},
		{"a  b", "a b", "a b"},
	} {
		if got := wordsText(diffWords(c.old, c.now)); got != c.want {
			t.Errorf("%q, %q: %s, want %s", c.old, c.now, got, c.want)
		}
	}
	long := strings.Repeat("w ", maxWords+1)
	if diffWords(long, long+"x") != nil {
		t.Error("a text without bounds is compared")
	}
}

// TestDiffOfTheResult: what the result says of itself is in the identity, so a change of it is seen.
func TestDiffOfTheResult(t *testing.T) {
	before, after := &Graph{Images: []GraphImage{{Platform: "linux/amd64"}}}, &Graph{Images: []GraphImage{{Platform: "linux/amd64"}}}
	after.Result = map[string]digest.Digest{"source.date.epoch": digest.FromString("1")}
	var out bytes.Buffer
	if err := Diff(before.Outline(unmasked, testSalt), after.Outline(unmasked, testSalt)).WriteText(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "output source.date.epoch is new") {
		t.Errorf("it says\n%s", out.String())
	}
}

// TestDiffOfImages compares what real recordings give with golden texts: one for each kind of input.
func TestDiffOfImages(t *testing.T) {
	outline := func(dir string, edit func(img *Image, opt *Options)) *Outline {
		img, opt := sample(dir), Options{Platforms: []ocispecs.Platform{amd64}}
		if edit != nil {
			edit(img, &opt)
		}
		return graph(t, record(t, img, opt)).Outline(unmasked, testSalt)
	}
	step := func(img *Image, title string) int {
		i := slices.IndexFunc(img.Steps, func(s Step) bool { return strings.HasPrefix(Title(s), title) })
		if i < 0 {
			t.Fatalf("no step %s", title)
		}
		return i
	}
	var out bytes.Buffer
	for _, c := range []struct {
		name string
		edit func(img *Image, opt *Options)
	}{
		{"nothing", nil},
		{"the base", func(img *Image, _ *Options) { img.Base.Ref = DebianPython("3.13") }},
		{"a package", func(img *Image, _ *Options) { img.Steps[step(img, "apt: ")] = Apt([]string{"git", "wget"}, Lines{}) }},
		{"a variable of steps and image", func(img *Image, _ *Options) {
			i := slices.IndexFunc(img.Steps, func(s Step) bool { e, ok := s.(Env); return ok && e.Key == "MODE" })
			img.Steps[i] = Env{Key: "MODE", Value: "other"}
		}},
		{"a step put in", func(img *Image, _ *Options) {
			img.Steps = slices.Insert(img.Steps, step(img, "copy: src"), Step(Command("make", Lines{})))
		}},
		{"a secret's id", func(img *Image, _ *Options) {
			img.Steps[step(img, "run: echo")] = Command("echo hello\necho you", Lines{}, Mount{Kind: SecretMount, ID: "password", Env: "TOKEN"})
		}},
		{"a written file", func(img *Image, _ *Options) {
			img.Steps[step(img, "write: hello.txt")] = WriteFile{Dst: "hello.txt", Data: []byte("hello!")}
		}},
		{"an owner", func(img *Image, _ *Options) {
			img.Steps[step(img, "copy: one")] = Copy{Local: "context", Src: "one file[1].txt", Dst: "/data/one.txt", Owner: "1000:5"}
		}},
		{"a label and the entrypoint", func(img *Image, _ *Options) {
			img.Steps = append(img.Steps, Label{Key: "org.example", Value: "2"}, Entrypoint{Args: []string{"python", "code/main.py"}})
		}},
		{"one more platform", func(_ *Image, opt *Options) { opt.Platforms = []ocispecs.Platform{amd64, arm64} }},
	} {
		fmt.Fprintf(&out, "# %s\n", c.name)
		dir := folder(t)
		d := Diff(outline(dir, nil), outline(dir, c.edit))
		if err := d.WriteText(&out); err != nil {
			t.Fatal(err)
		}
		if d.Same() != (c.edit == nil) {
			t.Errorf("%s: same is %v", c.name, d.Same())
		}
		fmt.Fprintln(&out)
	}
	golden(t, "graphdiff.txt", out.Bytes())
}

func TestDiffOfFiles(t *testing.T) {
	dir := folder(t)
	outline := func() *Outline {
		return graph(t, record(t, sample(dir), Options{Platforms: []ocispecs.Platform{amd64}})).Outline(unmasked, testSalt)
	}
	before := outline()
	write := func(name, data string, mode os.FileMode) {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(data), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("src/app.py", "print(2)\n", 0o644)
	write("src/new.py", "", 0o644)
	write("src/junk.pyc", "not seen", 0o644)
	write("one file[1].txt", "1", 0o755)
	if err := os.Remove(filepath.Join(dir, "src/deep/a.txt")); err != nil {
		t.Fatal(err)
	}
	d := Diff(before, outline())
	var got []string
	for _, s := range d.Images[0].Steps {
		for _, c := range s.Changes {
			got = append(got, c.String())
		}
	}
	want := []string{
		"file src/app.py: other content of the same size", "file src/new.py is new", "file src/deep/a.txt is gone",
		"file one file[1].txt: -rw-r--r-- -> -rwxr-xr-x",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestDiffOfWhatIsCopied has one folder of which steps take parts.
func TestDiffOfWhatIsCopied(t *testing.T) {
	outline := func(paths []string, files ...OutlineFile) *Outline {
		local := OutlineStep{Name: "context", Kind: StepLocal, Files: files}
		local.Own = digest.FromString(fmt.Sprint(files))
		local.Digest = local.Own
		img := OutlineImage{Platform: "linux/amd64", Steps: []OutlineStep{local}}
		for i, p := range paths {
			own := digest.FromString(fmt.Sprint(i, p))
			s := OutlineStep{Name: "copy " + p, Kind: StepFiles, Own: own, Digest: digest.FromString(own.String() + local.Digest.String()), Inputs: []int{0}, Copies: []OutlineCopy{{Input: 0, Paths: []string{p}}}}
			if i > 0 {
				s.Inputs, s.Copies[0].Input = []int{i, 0}, 1
			}
			img.Steps = append(img.Steps, s)
		}
		return &Outline{Images: []OutlineImage{img}}
	}
	file := func(path, sum string) OutlineFile { return OutlineFile{Path: path, Mode: "-rw-r--r--", Sum: sum} }
	link := func(path, to string) OutlineFile { return OutlineFile{Path: path, Mode: "Lrwxrwxrwx", Link: to} }
	for _, c := range []struct {
		name        string
		paths       []string
		before, now []OutlineFile
		want        string
	}{
		{"another file", []string{"/a"}, []OutlineFile{file("a", "1"), file("b", "1")}, []OutlineFile{file("a", "1"), file("b", "2")}, "changed same"},
		{"this file", []string{"/a"}, []OutlineFile{file("a", "1")}, []OutlineFile{file("a", "2")}, "changed again"},
		{"a longer name", []string{"/a"}, []OutlineFile{file("a", "1"), file("ab", "1")}, []OutlineFile{file("a", "1"), file("ab", "2")}, "changed same"},
		{"in the folder", []string{"a/"}, []OutlineFile{file("a/x", "1")}, []OutlineFile{file("a/x", "2")}, "changed again"},
		{"all", []string{"/"}, []OutlineFile{file("a", "1")}, []OutlineFile{file("a", "2")}, "changed again"},
		{"a pattern", []string{"/src/*.py"}, []OutlineFile{file("src/a.py", "1"), file("b", "1")}, []OutlineFile{file("src/a.py", "1"), file("b", "2")}, "changed same"},
		{"a pattern that may fit", []string{"/src/*.py"}, []OutlineFile{file("src/a.c", "1")}, []OutlineFile{file("src/a.c", "2")}, "changed again"},
		{"a link in it", []string{"/a"}, []OutlineFile{link("a/l", "../b"), file("b", "1")}, []OutlineFile{link("a/l", "../b"), file("b", "2")}, "changed again"},
		{"a link to it", []string{"/l/x"}, []OutlineFile{link("l", "b"), file("b/x", "1")}, []OutlineFile{link("l", "b"), file("b/x", "2")}, "changed again"},
		{"the second copy", []string{"/a", "/b"}, []OutlineFile{file("a", "1"), file("b", "1")}, []OutlineFile{file("a", "1"), file("b", "2")}, "changed same again"},
		{"what comes after it", []string{"/b", "/a"}, []OutlineFile{file("a", "1"), file("b", "1")}, []OutlineFile{file("a", "1"), file("b", "2")}, "changed again again"},
	} {
		if got := statuses(Diff(outline(c.paths, c.before...), outline(c.paths, c.now...))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestDiffMissesNothing changes single fields of operations that no part knows: the step has to change all the same.
func TestDiffMissesNothing(t *testing.T) {
	op := func() *pb.Op {
		return &pb.Op{Op: &pb.Op_Exec{Exec: &pb.ExecOp{Meta: &pb.Meta{Args: []string{"x"}, Cwd: "/"}, Mounts: []*pb.Mount{{Dest: "/"}}}}}
	}
	outline := func(op *pb.Op) *Outline {
		return (&Graph{Images: []GraphImage{{Platform: "p", Vertices: []GraphVertex{{Digest: digest.FromString(op.String()), Op: op}}}}}).Outline(unmasked, testSalt)
	}
	for name, edit := range map[string]func(*pb.ExecOp){
		"cgroup": func(e *pb.ExecOp) { e.Meta.CgroupParent = "c" },
		"exit":   func(e *pb.ExecOp) { e.Meta.ValidExitCodes = []int32{1} },
		"device": func(e *pb.ExecOp) { e.CdiDevices = []*pb.CDIDevice{{Name: "gpu"}} },
		"root":   func(e *pb.ExecOp) { e.Mounts[0].Readonly = true },
	} {
		changed := op()
		edit(changed.GetExec())
		d := Diff(outline(op()), outline(changed))
		if s := d.Images[0].Steps[0]; s.Status != StatusChanged || len(s.Changes) != 1 || s.Changes[0].What != "setting" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/llb"
)

func TestKindsOfPaths(t *testing.T) {
	f := listing("usr/", "usr/lib/?", "usr/lib64@", "etc/", "etc/passwd", "opt/?")
	for p, want := range map[string]struct {
		kind  Kind
		known bool
	}{
		"/":                {Folder, true},
		"/usr":             {Folder, true},
		"/usr/lib":         {Folder, true},
		"/usr/lib/python3": {Absent, false}, // a folder that nobody looked into
		"/usr/lib/a/b":     {Absent, false},
		"/usr/lib64":       {Other, true},
		"/usr/lib64/x":     {Absent, false}, // behind a link
		"/etc/passwd":      {File, true},
		"/etc/passwd/x":    {Absent, false}, // below a file
		"/etc/shadow":      {Absent, true},
		"/etc/shadow/x/y":  {Absent, true}, // below nothing there is nothing
		"/srv/a/b/c":       {Absent, true},
		"/opt":             {Folder, true},
		"/opt/x":           {Absent, false},
	} {
		if k, known := f.kind(p); k != want.kind || known != want.known {
			t.Errorf("%s is %q, known: %v; want %q, %v", p, k, known, want.kind, want.known)
		}
	}
	if k, known := (&Facts{}).kind("/x"); k != Absent || known {
		t.Errorf("without facts /x is %q, known: %v", k, known)
	}
}

func TestLook(t *testing.T) {
	dir := source(t, map[string]string{
		"usr/lib/python3/x.py": "1", "usr/bin/sh": "x:", "lib": "->usr/lib", "etc/passwd": "", "srv/": "", "unseen/secret": "",
	})
	check(t, os.Mkdir(filepath.Join(dir, "many"), 0o755))
	for i := range maxListing + 1 {
		check(t, os.WriteFile(filepath.Join(dir, "many", fmt.Sprint(i)), nil, 0o644))
	}
	ref := &diskRef{dir: dir}
	f := &Facts{}
	check(t, f.look(t.Context(), ref, []string{"/usr/lib/python3/app", "/usr/lib/python3/other", "/lib/app", "/etc/passwd/x", "/srv/a/b", "/many/x", "/new/x", "/"}))
	want := map[string]map[string]Kind{
		"/":                {"usr": Folder, "lib": Other, "etc": Folder, "srv": Folder, "unseen": Folder, "many": Folder},
		"/usr":             {"lib": Folder, "bin": Folder},
		"/usr/lib":         {"python3": Folder},
		"/usr/lib/python3": {"x.py": File},
		"/etc":             {"passwd": File},
		"/srv":             {},
	}
	if d := cmp.Diff(want, f.Folders); d != "" {
		t.Errorf("facts (-want +got):\n%s", d)
	}
	slices.Sort(ref.asked)
	if d := slices.Compact(slices.Clone(ref.asked)); len(d) != len(ref.asked) {
		t.Errorf("folders were asked for twice: %v", ref.asked)
	}
	if slices.Contains(ref.asked, "/unseen") || slices.Contains(ref.asked, "/lib") {
		t.Errorf("more was looked at than needed: %v", ref.asked)
	}
	if _, known := f.kind("/many/x"); known {
		t.Error("a folder that is too large to list is known")
	}

	empty := &Facts{}
	check(t, empty.look(t.Context(), nil, []string{"/a/b"}))
	if k, known := empty.kind("/a/b"); k != Absent || !known {
		t.Errorf("in the empty image /a/b is %q, known: %v", k, known)
	}
	fail := errors.New("connection lost")
	if err := (&Facts{}).look(t.Context(), &diskRef{fail: fail}, []string{"/a"}); !errors.Is(err, fail) {
		t.Errorf("a builder that fails: %v", err)
	}
}

// Every path that laying out asks about is one that is looked at, so that a second build needs no builder.
func TestLookedAtIsEnough(t *testing.T) {
	local := source(t, map[string]string{"src/a": "", "src/deep/er/b": "", "src/empty/": "", "one": "1"})
	env := source(t, map[string]string{"app/deep/er/old": "", "app/empty/x": "", "etc/": "", "home/app/": ""})
	img := codeOf(local,
		llb.Workdir{Path: "/home/app"},
		llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true},
		llb.Copy{Local: "context", Src: "src", Dst: ".", Dir: true},
		llb.Copy{Local: "context", Src: "one", Dst: "/etc/deep/one"},
		llb.WriteFile{Dst: "w/x"}, llb.Workdir{Path: "../other"}, llb.WriteFile{Dst: "y"},
	)
	list, err := codePaths(t.Context(), img, img.Steps, scratchConfig(t))
	check(t, err)
	f := Facts{}
	check(t, f.look(t.Context(), &diskRef{dir: env}, list))
	if _, err := lay(t, f, img); err != nil {
		t.Errorf("facts were looked at, but: %v", err)
	}
}

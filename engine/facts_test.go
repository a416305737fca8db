package engine

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
)

func TestNodesOfPaths(t *testing.T) {
	f := listing("usr/", "usr/lib/?", "usr/lib64@lib", "etc/", "etc/passwd", "opt/?", "tmp/!1777 0 0")
	for p, want := range map[string]struct {
		kind  Kind
		known bool
	}{
		"/":                {Folder, true},
		"/usr":             {Folder, true},
		"/usr/lib":         {Folder, true},
		"/usr/lib/python3": {Absent, false}, // a folder that nobody looked into
		"/usr/lib/a/b":     {Absent, false},
		"/usr/lib64":       {Link, true},
		"/usr/lib64/x":     {Absent, false}, // behind a link
		"/etc/passwd":      {File, true},
		"/etc/passwd/x":    {Absent, false}, // below a file
		"/etc/shadow":      {Absent, true},
		"/etc/shadow/x/y":  {Absent, true}, // below nothing there is nothing
		"/srv/a/b/c":       {Absent, true},
		"/opt":             {Folder, true},
		"/opt/x":           {Absent, false},
		"/tmp/x":           {Absent, true},
	} {
		if n, known := f.node(p); n.Kind != want.kind || known != want.known {
			t.Errorf("%s is %q, known: %v; want %q, %v", p, n.Kind, known, want.kind, want.known)
		}
	}
	if n, known := (&Facts{}).node("/x"); n.Kind != Absent || known {
		t.Errorf("without facts /x is %q, known: %v", n.Kind, known)
	}
	if n, _ := f.node("/tmp"); n.Mode != fs.ModeSticky|0o777 {
		t.Errorf("/tmp is %+v", n)
	}
}

// lookAt is what a builder finds out for code that goes to the destinations.
func lookAt(t *testing.T, ref gateway.Reference, dst ...string) (*Facts, error) {
	t.Helper()
	dir := source(t, map[string]string{"one": "1"})
	var steps []llb.Step
	for _, d := range dst {
		steps = append(steps, llb.Copy{Local: "context", Src: "one", Dst: d})
	}
	f := &Facts{}
	return f, f.explore(t.Context(), ref, llb.RecordedImage{Platform: amd64}, codeOf(dir, steps...), steps)
}

func TestExplore(t *testing.T) {
	dir := source(t, map[string]string{
		"usr/lib/python3/x.py": "1", "usr/bin/sh": "x:", "lib": "->usr/lib", "etc/passwd": "app:x:1:2::/:\n", "srv/": "", "unseen/secret": "",
	})
	check(t, os.Mkdir(filepath.Join(dir, "many"), 0o755))
	for i := range maxListing + 1 {
		check(t, os.WriteFile(filepath.Join(dir, "many", fmt.Sprint(i)), nil, 0o644))
	}
	check(t, os.Chmod(filepath.Join(dir, "srv"), 0o750|fs.ModeSetgid))
	ref := &diskRef{dir: dir}
	f, err := lookAt(t, ref, "/usr/lib/python3/app", "/lib/other", "/srv/a/b", "/new/x", "/many/x", "/usr/unseen")
	check(t, err)
	d := plainFolder()
	want := &Facts{
		Folders: map[string]map[string]Node{
			"/":    {"usr": d, "lib": {Kind: Link, Link: "usr/lib"}, "etc": d, "srv": {Kind: Folder, Mode: fs.ModeSetgid | 0o750}, "unseen": d, "many": d},
			"/usr": {"lib": d, "bin": d}, "/usr/lib": {"python3": d}, "/usr/lib/python3": {"x.py": {Kind: File}},
			"/etc": {"passwd": {Kind: File}}, "/srv": {},
		},
		Large: []string{"/many"}, Users: &Users{Passwd: []byte("app:x:1:2::/:\n")},
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Errorf("facts (-want +got):\n%s", d)
	}
	slices.Sort(ref.asked)
	if d := slices.Compact(slices.Clone(ref.asked)); len(d) != len(ref.asked) {
		t.Errorf("something was asked for twice: %v", ref.asked)
	}
	if _, known := f.node("/many/x"); known {
		t.Error("a folder that is too large to list is known")
	}
	empty, err := lookAt(t, nil, "/a/b")
	check(t, err)
	if n, known := empty.node("/a/b"); n.Kind != Absent || !known || empty.Users == nil {
		t.Errorf("in the empty image /a/b is %q, known: %v", n.Kind, known)
	}
	fail := errors.New("connection lost")
	if _, err := lookAt(t, &diskRef{fail: fail}, "/a"); !errors.Is(err, fail) {
		t.Errorf("a builder that fails: %v", err)
	}
}

func TestUsersThatAreTooMany(t *testing.T) {
	dir := source(t, map[string]string{"etc/passwd": strings.Repeat("x", maxUserFile+1)})
	f, err := lookAt(t, &diskRef{dir: dir}, "/a")
	check(t, err)
	if f.Users != nil || !f.NoUsers {
		t.Error("users are known of a file that was not read to its end, or are asked for again and again")
	}
	linked, err := lookAt(t, &diskRef{dir: source(t, map[string]string{"etc/passwd": "->../data/users", "data/users": "app:x:1:2::/:\n", "etc/group/": ""})}, "/a")
	check(t, err)
	if linked.Users != nil || !linked.NoUsers {
		t.Error("a folder was taken for /etc/group")
	}
	_, err = lay(t, *f, codeOf(dir, llb.Copy{Local: "context", Src: "etc", Dst: "/x", Dir: true, Owner: "app"}))
	var needs *needsBuilder
	if !errors.As(err, &needs) || needs.unknown {
		t.Errorf("an owner in a file that is too large: %v", err)
	}
	if m := f.merged(linked); !m.NoUsers {
		t.Error("merged, nobody has looked for users")
	}
	if m := f.merged(&Facts{Users: &Users{}}); m.NoUsers || m.Users == nil {
		t.Error("merged, the users of somebody who could read them are gone")
	}
}

// Every path that laying out asks about is one that is looked at, so that a second build needs no builder; and
// a file that comes into a folder that is there already needs none, either.
func TestLookedAtIsEnough(t *testing.T) {
	local := source(t, map[string]string{"src/a": "", "src/deep/er/b": "", "src/empty/": "", "one": "1"})
	env := source(t, map[string]string{"app/deep/er/old": "", "app/empty/x": "", "etc/": "", "home/app/": "", "opt/x/": "", "lib": "->usr/lib", "usr/lib/": ""})
	img := codeOf(local,
		llb.Workdir{Path: "/home/app"},
		llb.Copy{Local: "context", Src: "src", Dst: "/app", Dir: true, Owner: "app"},
		llb.Copy{Local: "context", Src: "src", Dst: ".", Dir: true},
		llb.Copy{Local: "context", Src: "one", Dst: "/lib/deep/one"},
		llb.WriteFile{Dst: "w/x"}, llb.Workdir{Path: "../other"}, llb.WriteFile{Dst: "y"},
	)
	f := Facts{}
	check(t, f.explore(t.Context(), &diskRef{dir: env}, llb.RecordedImage{Platform: amd64}, img, img.Steps))
	if _, err := lay(t, f, img); err != nil {
		t.Errorf("facts were looked at, but: %v", err)
	}
	plant(t, local, map[string]string{"src/empty/new": "", "src/deep/er/new/er": ""})
	img.Steps = append(img.Steps, llb.WriteFile{Dst: "/srv/new"}, llb.WriteFile{Dst: "/opt/y"})
	if _, err := lay(t, f, img); err != nil {
		t.Errorf("only files were added, but: %v", err)
	}
}

func TestNodeText(t *testing.T) {
	for text, n := range map[string]Node{
		"f": {Kind: File}, "o": {Kind: Other}, "d": plainFolder(), "l usr/lib": {Kind: Link, Link: "usr/lib"}, "l a b": {Kind: Link, Link: "a b"},
		"d 1777 0 0":    {Kind: Folder, Mode: fs.ModeSticky | 0o777},
		"d 6755 7 8":    {Kind: Folder, Mode: fs.ModeSetuid | fs.ModeSetgid | 0o755, UID: 7, GID: 8},
		"d 755 1000 50": {Kind: Folder, Mode: 0o755, UID: 1000, GID: 50},
	} {
		data, err := n.MarshalText()
		if err != nil || string(data) != text {
			t.Errorf("%+v is written as %q, %v; want %q", n, data, err, text)
		}
		var got Node
		if err := got.UnmarshalText([]byte(text)); err != nil || got != n {
			t.Errorf("%q is read as %+v, %v; want %+v", text, got, err, n)
		}
	}
	for _, bad := range []string{"", " ", "x", "ff", "f ", "f x", "l", "l ", "l a\x00b", "l \xff", "d ", "d 755", "d 755 0", "d 755 0 0 0", "d 999 0 0", "d 17777 0 0", "d 755 -1 0", "d 755 0 4294967296", "D", "l " + strings.Repeat("x", maxPath+1)} {
		var n Node
		if err := n.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%.20q is read as %+v", bad, n)
		}
	}
	if _, err := (Node{}).MarshalText(); err == nil {
		t.Error("nothing is written as something")
	}
}

// document has the facts of one image.
func document(t *testing.T, f Facts) []byte {
	t.Helper()
	data, err := factsDocument{Images: map[digest.Digest]*Facts{digest.FromString("image"): &f}}.encode()
	check(t, err)
	return data
}

func TestFactsDocument(t *testing.T) {
	f := listing("usr/", "usr/lib/?", "lib@usr/lib", "etc/", "etc/passwd", "tmp/!1777 0 0")
	f.Large, f.Users = []string{"/usr/lib"}, &Users{Passwd: []byte("a\xff\n"), Group: []byte("b")}
	data := document(t, f)
	if !bytes.Equal(data, document(t, f)) {
		t.Error("not the same bytes")
	}
	doc, err := parseFacts(data)
	check(t, err)
	if d := cmp.Diff(&f, doc.Images[digest.FromString("image")]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	image := digest.FromString("image").String()
	for _, bad := range []string{
		``, `[]`, `{"images":{"x":{}}}`, `{"images":{"` + image + `":null}}`, `{"images":{"` + image + `":{"folders":{"usr":{}}}}}`,
		`{"images":{"` + image + `":{"folders":{"/usr":{}}}}}`,                                      // of a folder that is not known
		`{"images":{"` + image + `":{"folders":{"/":{"usr":"l x"},"/usr":{}}}}}`,                    // of a link
		`{"images":{"` + image + `":{"folders":{"/":{"..":"d"}}}}}`,                                 //
		`{"images":{"` + image + `":{"folders":{"/":{"a/b":"d"}}}}}`,                                //
		`{"images":{"` + image + `":{"folders":{"/":{"a":null}}}}}`,                                 // nothing, said to be there
		`{"images":{"` + image + `":{"folders":{"/":{"a":"d 99999 0 0"}}}}}`,                        //
		`{"images":{"` + image + `":{"folders":{"/":{"a":"d"},"/a/../a":{}}}}}`,                     //
		`{"images":{"` + image + `":{"folders":{},"large":["usr"]}}}`,                               //
		`{"images":{"` + image + `":{"folders":{}}}} x`,                                             //
		`{"images":{"` + image + `":{"users":{"passwd":"` + strings.Repeat("AAAA", 90000) + `"}}}}`, //
		strings.Repeat(" ", maxFactsText+1),
	} {
		data, err := compressFacts([]byte(bad))
		check(t, err)
		if doc, err := parseFacts(data); err == nil || len(doc.Images) != 0 {
			t.Errorf("%.120s is read as %+v, %v", bad, doc, err)
		}
	}
	many := Facts{Folders: map[string]map[string]Node{"/": {}}}
	for i := range maxListing + 1 {
		many.Folders["/"][fmt.Sprint(i)] = Node{Kind: File}
	}
	if _, err := parseFacts(document(t, many)); err == nil {
		t.Error("a folder of too many entries is read")
	}
	for name, bad := range map[string][]byte{"not compressed": []byte(`{"images":{}}`), "nothing": nil, "too large": make([]byte, maxFacts+1), "cut off": data[:len(data)-9]} {
		if doc, err := parseFacts(bad); err == nil || len(doc.Images) != 0 {
			t.Errorf("%s: read as %+v, %v", name, doc, err)
		}
	}
}

// Too many facts to be kept: the longest listings with nothing below them go first, and are never asked for again.
func TestFactsThatAreTooMany(t *testing.T) {
	image := digest.FromString("image")
	big := func(entries, length int) map[string]Node {
		out := map[string]Node{}
		for i := range entries {
			out[fmt.Sprintf("%0*d", length, i)] = Node{Kind: File}
		}
		return out
	}
	f := listing("deep/", "small/", "small/x")
	f.Folders["/"]["small"], f.Folders["/"]["deep"] = plainFolder(), plainFolder()
	f.Folders["/deep"] = big(4000, 250)
	f.Folders["/deep"]["inner"] = plainFolder()
	f.Folders["/deep/inner"] = map[string]Node{"y": {Kind: File}}
	for i := range 10 {
		name := fmt.Sprint("big", i)
		f.Folders["/"][name], f.Folders["/"+name] = plainFolder(), big(4000, 250-i)
	}
	f.Users = &Users{Passwd: []byte("app:x:1:1::/:")}
	data, err := factsDocument{Images: map[digest.Digest]*Facts{image: f.merged(&Facts{})}}.encode()
	check(t, err)
	doc, err := parseFacts(data)
	check(t, err)
	got := doc.Images[image]
	if want := []string{"/big0", "/big1", "/big2"}; !slices.Equal(got.Large, want) {
		t.Errorf("left out are %v, want %v", got.Large, want)
	}
	for _, p := range []string{"/small/x", "/deep/inner/y", "/big9/" + fmt.Sprintf("%0241d", 7)} {
		if n, known := got.node(p); n.Kind != File || !known {
			t.Errorf("%s is %q, known: %v", p, n.Kind, known)
		}
	}
	if got.Users == nil {
		t.Error("the users are gone")
	}
	if len(f.Large) > 0 || len(f.Folders) != 14 {
		t.Error("what the build knows itself was changed")
	}
	again, err := factsDocument{Images: map[digest.Digest]*Facts{image: f.merged(&Facts{})}}.encode()
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("not the same bytes, or %v", err)
	}

	incompressible := Facts{Folders: map[string]map[string]Node{"/": {}}}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 24 {
		name := fmt.Sprint("r", i)
		entries := map[string]Node{}
		for range 1000 {
			var raw [90]byte
			for j := range raw {
				raw[j] = byte(r.Uint32())
			}
			entries[hex.EncodeToString(raw[:])] = Node{Kind: File}
		}
		incompressible.Folders["/"][name], incompressible.Folders["/"+name] = plainFolder(), entries
	}
	data, err = factsDocument{Images: map[digest.Digest]*Facts{image: incompressible.merged(&Facts{})}}.encode()
	check(t, err)
	if doc, err = parseFacts(data); err != nil || len(doc.Images[image].Large) == 0 || len(doc.Images[image].Folders) < 10 {
		t.Errorf("%d bytes: %v, %d folders are left, %v", len(data), err, len(doc.Images[image].Folders), doc.Images[image].Large)
	}
	if _, err := (factsDocument{Images: map[digest.Digest]*Facts{image: {Folders: map[string]map[string]Node{"/": big(4000, 3000)}}}}).encode(); err == nil {
		t.Error("a root that is too large to be kept is kept")
	}
}

// What a registry sends as facts is refused, or is facts that no code can be laid out on in an endless or wild
// way: entries are clean paths below the root.
func FuzzFacts(f *testing.F) {
	image := digest.FromString("image")
	for _, l := range []Facts{listing(), listing("usr/", "lib@usr/lib", "a@b", "b@a", "c@../../x", "tmp/!1777 0 0"), {Users: &Users{Passwd: []byte("app:x:1:1::/:")}}} {
		data, err := factsDocument{Images: map[digest.Digest]*Facts{image: &l}}.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	data, err := compressFacts([]byte(`{"images":{"` + image.String() + `":{"folders":{"/":{"a":"l /a/a/a/a","w":"l ."}}}}}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "one"), nil, 0o644); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parseFacts(data)
		if err != nil { // most are no gzip: taken for the text inside, too
			packed, perr := compressFacts(data)
			if perr != nil {
				t.Fatal(perr)
			}
			if doc, err = parseFacts(packed); err != nil {
				return
			}
		}
		if again, err := doc.encode(); err == nil {
			if two, err := parseFacts(again); err != nil || len(two.Images) != len(doc.Images) {
				t.Errorf("what was read cannot be written and read: %v", err)
			}
		}
		for _, facts := range doc.Images {
			for _, dst := range []string{"/a/x", "/lib/x", "/w", "/tmp/x/y"} {
				layers, err := lay(t, *facts, codeOf(dir, llb.Workdir{Path: dst}, llb.Copy{Local: "context", Src: "one", Dst: dst, Owner: "app:app"}))
				if err != nil {
					continue
				}
				for _, l := range layers {
					for _, e := range l.entries {
						if !fs.ValidPath(e.Path) || e.UID < 0 || e.GID < 0 {
							t.Errorf("%q has the entry %+v", dst, e)
						}
					}
				}
			}
		}
	})
}

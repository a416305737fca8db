package engine

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/client"
)

func opened(t *testing.T, out Outputs) *outputs {
	t.Helper()
	way, err := out.codec(func(host string) bool { return host == "old.example" })
	check(t, err)
	o, err := (&build{req: Request{Outputs: out}, codec: way}).openOutputs()
	check(t, err)
	return o
}

func TestEntriesOfOutputs(t *testing.T) {
	f := &fixture{t: t, server: &server{host: "reg.example"}}
	dir := t.TempDir()
	tar := filepath.Join(dir, "x.tar")
	image := func(push string, names ...string) client.ExportEntry {
		e := client.ExportEntry{Type: "image", Attrs: map[string]string{"name": strings.Join(names, ","), "push": push, "oci-mediatypes": "true"}}
		if push == "true" {
			e.Attrs["push-by-digest"], e.Attrs["compression"] = "true", "zstd"
		}
		return e
	}
	with := func(e client.ExportEntry, attrs ...string) client.ExportEntry {
		for i := 0; i < len(attrs); i += 2 {
			e.Attrs[attrs[i]] = attrs[i+1]
		}
		return e
	}
	old, err := reference.ParseNormalizedNamed("old.example/a:1")
	check(t, err)
	for _, c := range []struct {
		name string
		out  Outputs
		want []client.ExportEntry
	}{
		{"none", Outputs{}, nil},
		{"names alone", Outputs{Names: f.names("a:1")}, nil},
		{"push is by digest, to each repository once", Outputs{Push: true, Names: f.names("a:1", "a:2", "b/c")},
			[]client.ExportEntry{image("true", "reg.example/a", "reg.example/b/c")}},
		{"a digest", Outputs{Digest: true, Names: f.names("a:1")}, []client.ExportEntry{image("false", "reg.example/a:1")}},
		{"a digest of what is pushed", Outputs{Digest: true, Push: true, Names: f.names("a:1")}, []client.ExportEntry{image("true", "reg.example/a")}},
		{"a registry that wants gzip", Outputs{Push: true, Names: []reference.NamedTagged{old.(reference.NamedTagged)}},
			[]client.ExportEntry{with(image("true", "old.example/a"), "compression", "gzip")}},
		{"gzip by name is for all layers", Outputs{Push: true, Names: f.names("a:1"), Compression: Compression{Name: "gzip", Level: 9}},
			[]client.ExportEntry{with(image("true", "reg.example/a"), "compression", "gzip", "compression-level", "9", "force-compression", "true")}},
		{"zstd by name is for new ones", Outputs{Push: true, Names: f.names("a:1"), Compression: Compression{Name: "zstd", Level: 3}},
			[]client.ExportEntry{with(image("true", "reg.example/a"), "compression-level", "3")}},
		{"a level without a name", Outputs{Push: true, Names: f.names("a:1"), Compression: Compression{Level: 19}},
			[]client.ExportEntry{with(image("true", "reg.example/a"), "compression-level", "19")}},
		{"which is not for gzip", Outputs{Push: true, Names: []reference.NamedTagged{old.(reference.NamedTagged)}, Compression: Compression{Level: 19}},
			[]client.ExportEntry{with(image("true", "old.example/a"), "compression", "gzip")}},
		{"an archive and a registry have the same layers", Outputs{Push: true, Names: f.names("a:1"), Exports: []Export{{Type: OCIExport, Dest: tar}}},
			[]client.ExportEntry{with(image("true", "reg.example/a"), "compression", "gzip"),
				{Type: "oci", Attrs: map[string]string{"name": "reg.example/a:1", "compression": "gzip"}}}},
		{"an archive has the names", Outputs{Names: f.names("a:1", "b:2"), Exports: []Export{{Type: OCIExport, Dest: tar}}},
			[]client.ExportEntry{{Type: "oci", Attrs: map[string]string{"name": "reg.example/a:1,reg.example/b:2", "compression": "gzip"}}}},
		{"or its own", Outputs{Names: f.names("a:1"), Exports: []Export{{Type: DockerExport, Dest: tar, Attrs: map[string]string{"name": "x"}}}},
			[]client.ExportEntry{{Type: "docker", Attrs: map[string]string{"name": "x", "compression": "gzip"}}}},
		{"a tree has none", Outputs{Names: f.names("a:1"), Exports: []Export{{Type: TarExport, Dest: tar}}}, []client.ExportEntry{{Type: "tar"}}},
		{"a digest beside a tree", Outputs{Digest: true, Exports: []Export{{Type: TarExport, Dest: tar}}},
			[]client.ExportEntry{image("false", ""), {Type: "tar"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := opened(t, c.out)
			defer o.discard()
			for i := range o.entries {
				o.entries[i].Output = nil
			}
			if d := cmp.Diff(c.want, o.entries); d != "" {
				t.Errorf("entries (-want +got):\n%s", d)
			}
		})
	}
	o := opened(t, Outputs{Exports: []Export{{Type: OCIExport, Dest: "-", Attrs: map[string]string{}}}})
	if w, err := o.entries[0].Output(nil); err != nil || w != os.Stdout || len(o.places) != 0 {
		t.Errorf("- is %v, %v, with %v to put", w, err, o.places)
	}
	given := map[string]string{}
	opened(t, Outputs{Names: f.names("a:1"), Exports: []Export{{Type: OCIExport, Dest: tar, Attrs: given}}}).discard()
	if len(given) != 0 {
		t.Errorf("the request was changed: %v", given)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	check(t, err)
	out := []string{}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestFilesAppearAtTheEnd(t *testing.T) {
	for _, success := range []bool{true, false} {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, "old.tar"), []byte("old"), 0o644))
		check(t, os.Mkdir(filepath.Join(dir, "existing"), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, "existing", "mine"), []byte("mine"), 0o644))
		o := opened(t, Outputs{Exports: []Export{
			{Type: TarExport, Dest: filepath.Join(dir, "new.tar")}, {Type: TarExport, Dest: filepath.Join(dir, "old.tar")},
			{Type: LocalExport, Dest: filepath.Join(dir, "tree")}, {Type: LocalExport, Dest: filepath.Join(dir, "existing")},
		}})
		for i := range 2 {
			w, err := o.entries[i].Output(nil)
			check(t, err)
			_, err = io.WriteString(w, "new")
			check(t, err)
			check(t, w.Close())
		}
		for _, i := range []int{2, 3} { // as BuildKit receives a tree
			check(t, os.MkdirAll(o.entries[i].OutputDir, 0o700))
			check(t, os.WriteFile(filepath.Join(o.entries[i].OutputDir, "file"), []byte("new"), 0o644))
		}
		for _, n := range []string{"new.tar", "tree", "existing/file"} {
			if _, err := os.Stat(filepath.Join(dir, n)); err == nil {
				t.Errorf("%s is there before the end", n)
			}
		}
		if readText(t, filepath.Join(dir, "existing/mine")) != "mine" || readText(t, filepath.Join(dir, "old.tar")) != "old" {
			t.Error("what was there is gone before the end")
		}
		want, inside, old := []string{"existing", "new.tar", "old.tar", "tree"}, []string{"file", "mine"}, "new"
		if success {
			check(t, o.commit())
		} else {
			want, inside, old = []string{"existing", "old.tar"}, []string{"mine"}, "old"
		}
		o.discard()
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("success %v: there is %v, want %v", success, got, want)
		}
		if got := names(t, filepath.Join(dir, "existing")); !slices.Equal(got, inside) {
			t.Errorf("success %v: in the folder there is %v, want %v", success, got, inside)
		}
		if data, err := os.ReadFile(filepath.Join(dir, "old.tar")); err != nil || string(data) != old {
			t.Errorf("success %v: the old archive is %q, %v", success, data, err)
		}
		if success {
			for n, mode := range map[string]os.FileMode{"new.tar": 0o644, "tree": os.ModeDir | 0o755} {
				if info, err := os.Stat(filepath.Join(dir, n)); err != nil || info.Mode() != mode {
					t.Errorf("%s: %v, %v", n, info.Mode(), err)
				}
			}
		}
	}
}

func TestOutputsThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	for name, c := range map[string]struct {
		e    Export
		want string
	}{
		"a folder as a file": {Export{Type: TarExport, Dest: dir}, "is a folder; name a file"},
		"a missing folder":   {Export{Type: TarExport, Dest: filepath.Join(dir, "no/x.tar")}, "cannot write " + filepath.Join(dir, "no/x.tar")},
		"below a file":       {Export{Type: LocalExport, Dest: filepath.Join(dir, "file/x")}, "not a directory"},
		"a file as a folder": {Export{Type: LocalExport, Dest: filepath.Join(dir, "file")}, "not a folder"},
	} {
		b := &build{req: Request{Outputs: Outputs{Exports: []Export{{Type: TarExport, Dest: filepath.Join(dir, "good.tar")}, c.e}}}}
		if o, err := b.openOutputs(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", name, o, err, c.want)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"file"}) {
			t.Errorf("%s: left behind %v", name, got)
		}
	}
}

// What is not an ordinary file is written to, not replaced: -o dest=/dev/null as root would end the machine.
func TestSpecialDestinations(t *testing.T) {
	dir := t.TempDir()
	write := func(dest string) error {
		o := opened(t, Outputs{Exports: []Export{{Type: TarExport, Dest: dest}}})
		defer o.discard()
		w, err := o.entries[0].Output(nil)
		check(t, err)
		_, err = io.WriteString(w, "new")
		check(t, err)
		check(t, w.Close())
		return o.commit()
	}

	pipe := filepath.Join(dir, "pipe")
	check(t, syscall.Mkfifo(pipe, 0o600))
	r, err := os.OpenFile(pipe, os.O_RDWR, 0) // so that writers do not wait
	check(t, err)
	defer r.Close()
	check(t, write(pipe))
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is now %v (%v)", info.Mode(), err)
	}

	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	check(t, os.WriteFile(target, []byte("old"), 0o644))
	check(t, os.Symlink("target", link))
	check(t, write(link))
	if data, err := os.ReadFile(target); err != nil || string(data) != "new" {
		t.Errorf("the link's target has %q, %v", data, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is now %v (%v)", info.Mode(), err)
	}
}

func TestRepositories(t *testing.T) {
	f := &fixture{t: t, server: &server{host: "reg.example:5000"}}
	for want, out := range map[string]Outputs{
		"": {Names: f.names("a:1")},
		"reg.example:5000/a reg.example:5000/b/c":  {Push: true, Names: f.names("a:1", "b/c:1", "a:2", "b/c")},
		"reg.example:5000/c reg.example:5000/a-12": {Push: true, Names: f.names("c", "a-12:x", "c:y")},
	} {
		if got := strings.Join(out.repositories(), " "); got != want {
			t.Errorf("%v: %q, want %q", out.Names, got, want)
		}
	}
}

func TestOnlyImages(t *testing.T) {
	oci, tar := Export{Type: OCIExport}, Export{Type: TarExport}
	for _, c := range []struct {
		out  Outputs
		want bool
	}{
		{Outputs{}, false}, {Outputs{Digest: true}, false}, {Outputs{Push: true}, true}, {Outputs{Exports: []Export{oci}}, true},
		{Outputs{Exports: []Export{{Type: DockerExport}}}, true}, {Outputs{Exports: []Export{oci, tar}}, false},
		{Outputs{Push: true, Exports: []Export{tar}}, false}, {Outputs{Exports: []Export{{Type: LocalExport}}}, false},
	} {
		if got := c.out.assembled(); got != c.want {
			t.Errorf("%+v: %v", c.out, got)
		}
	}
}

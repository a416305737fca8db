package spec

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ibuild/ibuild/llb"
)

// TestEveryFieldCounts changes every field of every layer, found by reflection, and sees another identifier.
func TestEveryFieldCounts(t *testing.T) {
	at := placeOf(checkout(t))
	layers := oneOfEach()
	base := DebianBase("3.12")
	seen := map[string]bool{}
	for i, layer := range layers {
		before := identify(t, base.With(layer), at)
		typ := reflect.TypeOf(layer)
		for _, f := range reflect.VisibleFields(typ) {
			if !f.IsExported() || f.Anonymous {
				continue
			}
			name := typ.Name() + "." + f.Name
			changed := reflect.New(typ)
			changed.Elem().Set(reflect.ValueOf(layer.clone()))
			field := changed.Elem().FieldByIndex(f.Index)
			if field.IsZero() || slices.Contains(pairs(), name) {
				continue // another layer of the list has it
			}
			if strings.HasSuffix(name, "Project.Path") {
				changed.Elem().FieldByName("Lock").SetString("") // it goes with the project
			}
			if other, ok := otherValues()[name]; ok {
				field.Set(reflect.ValueOf(other))
			} else {
				other := otherValue(t, name, field)
				field.Set(other)
			}
			seen[name] = true
			id, err := base.With(changed.Elem().Interface().(Layer)).Identifier(t.Context(), at)
			if err != nil {
				t.Errorf("%s of layer %d: %v", name, i, err)
			} else if id == before {
				t.Errorf("%s of layer %d changes nothing", name, i)
			}
		}
	}
	for _, layer := range layers {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(layer)) {
			name := reflect.TypeOf(layer).Name() + "." + f.Name
			if f.IsExported() && !f.Anonymous && !seen[name] && !slices.Contains(pairs(), name) {
				t.Errorf("no layer of the list has %s", name)
			}
		}
	}
	for _, kind := range layerKinds() {
		if !slices.ContainsFunc(layers, func(l Layer) bool { return l.kind() == kind.name }) && !slices.Contains([]string{"run", "requirements"}, kind.name) {
			t.Errorf("no layer of the list is of the kind %s", kind.name)
		}
	}
	for name, pair := range map[string][2]Layer{
		"Pip.WheelsOnly":        {Pip{Packages: []string{"a"}}, Pip{Packages: []string{"a"}, PipOptions: PipOptions{WheelsOnly: true}}},
		"Pip.Edited":            {Pip{Requirements: "requirements.txt"}, Pip{Requirements: "requirements.txt", Edited: map[string][]byte{"requirements.txt": []byte("edited\n")}}},
		"SourceFolder.AllFiles": {SourceFolder{Src: "app"}, SourceFolder{Src: "app", AllFiles: true}},
		"CodeBundle.Imported":   {CodeBundle{Src: "app", Imported: true, Entries: []string{"other.py"}}, CodeBundle{Src: "app"}},
		"PixiProject.Path":      {PixiProject{PixiOptions: PixiOptions{Path: "pixi"}}, PixiProject{PixiOptions: PixiOptions{Path: "pixi2"}}},
		"two commands":          {Commands{Commands: []string{"a b"}}, Commands{Commands: []string{"a", "b"}}},
		"two packages":          {Pip{Packages: []string{"ab", "c"}}, Pip{Packages: []string{"a", "bc"}}},
		"pip, apt":              {Pip{Packages: []string{"git"}}, Apt{Packages: []string{"git"}}},
	} {
		writeTo(t, filepath.Join(at.Source.Dir, "app/.git/config"), "x")
		if identify(t, base.With(pair[0]), at) == identify(t, base.With(pair[1]), at) {
			t.Errorf("%s: no difference", name)
		}
	}
}

// TestWhatTheImageSays has every field of Image: the ones that decide what is in the image, and the ones that
// say where it is built and pushed.
func TestWhatTheImageSays(t *testing.T) {
	at := placeOf(checkout(t))
	writeTo(t, filepath.Join(at.Source.Dir, "ca.pem"), testCA(t))
	base := DebianBase("3.12").WithAptPackages("git").WithCommands("true")
	before := identify(t, base, at)
	counts := map[string]Image{
		"start":       From("debian:12").WithAptPackages("git").WithCommands("true"),
		"python":      base.WithPythonVersion("3.11"),
		"platforms":   base.WithPlatforms("linux/arm64"),
		"pythonExec":  From("debian:12").WithAptPackages("git").WithCommands("true").WithPythonExec("python3"),
		"cuda":        base.WithCUDA("12.4", ""),
		"cudnn":       base.WithCUDA("", "9"),
		"ca":          base.WithCACertificates("ca.pem"),
		"everywhere":  base.WithPlatformPackages("flyte"),
		"layers":      base.WithCommands("false"),
		"runtime":     base.WithRuntimePackages("numpy"),
		"entrypoint":  base.WithEntrypoint("x"),
		"cmd":         base.WithCmd("x"),
		"labels":      base.WithLabels(map[string]string{"a": "b"}),
		"accelerator": base.WithAccelerator("l4"),
		"tools":       base.WithTools(Tools{UVImage: "example.com/uv:1"}),
		"secrets":     base.With(Commands{Commands: []string{"true"}, Secrets: []Secret{{ID: "t"}}}).WithSecrets(Secret{ID: "t", Version: "2"}),
	}
	not := map[string]Image{
		"registry": base.WithRegistry("localhost:5000").WithName("x"), "name": base.WithName("x"), "tag": base.WithName("x").WithTag("v2"),
		"tagFormat": base.WithName("x").WithTagFormat("{spec_hash}-dev"), "builder": base.WithBuilder("noop", nil),
		"builderOptions": base.WithBuilder("noop", map[string]string{"a": "b"}), "registryConfig": base.WithRegistryConfig("config.json"),
		"plainCredentials": base.WithPlainCredentials(), "allFiles": base.WithAllFiles(),
		"marks": base, "text": base,
	}
	for i := range reflect.TypeFor[Image]().NumField() {
		name := reflect.TypeFor[Image]().Field(i).Name
		img, decides := counts[name]
		other, does := not[name]
		switch {
		case !decides && !does:
			t.Errorf("this test does not know the field %s", name)
		case decides && identify(t, img, at) == before:
			t.Errorf("%s changes nothing", name)
		case does && identify(t, other, at) != before:
			t.Errorf("%s is in the identifier", name)
		}
	}
	moved := at
	moved.Resolver = registryOf{moved: llb.DebianPython("3.12")}
	if identify(t, base, moved) == before {
		t.Error("the base's tag was moved, and the identifier is the same")
	}
	moved.Resolver = registryOf{moved: llb.UVImage}
	if identify(t, base, moved) == before {
		t.Error("the tag of a helper image was moved, and the identifier is the same")
	}
}

// TestFilesCount changes every file that the layers read, in its content and its mode.
func TestFilesCount(t *testing.T) {
	at := placeOf(checkout(t))
	img := DebianBase("").WithRequirements("requirements.txt", PipOptions{}).WithSourceFolder("app", "")
	before := identify(t, img, at)
	for _, name := range []string{"requirements.txt", "more/more.txt", "app/main.py", "app/lib/a.py"} {
		path := filepath.Join(at.Source.Dir, name)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		writeTo(t, path, string(old)+"# changed\n")
		if identify(t, img, at) == before {
			t.Errorf("a change of %s changes nothing", name)
		}
		writeTo(t, path, string(old))
	}
	if err := os.Chmod(filepath.Join(at.Source.Dir, "app/run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if identify(t, img, at) == before {
		t.Error("an executable file is the same as one that is not")
	}
	if err := os.Chmod(filepath.Join(at.Source.Dir, "app/run.sh"), 0o600); err != nil {
		t.Fatal(err)
	}
	if identify(t, img, at) != before {
		t.Error("the umask of a checkout is in the identifier")
	}
	if err := os.Symlink("main.py", filepath.Join(at.Source.Dir, "app/link")); err != nil {
		t.Fatal(err)
	}
	if identify(t, img, at) == before {
		t.Error("a link changes nothing")
	}
}

// TestMachinesDoNotCount makes the same checkout at another place, later, by another user with another home,
// its files written in another order.
func TestMachinesDoNotCount(t *testing.T) {
	img := DebianBase("3.12").With(slices.DeleteFunc(oneOfEach(), func(l Layer) bool {
		return l.kind() == "conda" || l.kind() == "pixi_project" || l.kind() == "code_bundle"
	})...).WithLabels(map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"})
	first, second := checkout(t), checkout(t)
	past := time.Now().Add(-1000 * time.Hour)
	err := filepath.WalkDir(second, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o640)
		}
		if err == nil {
			err = os.Chtimes(path, past, past)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	before := identify(t, img, placeOf(first))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("USER", "somebody")
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("PIP_INDEX_URL", "https://other/simple")
	t.Setenv("HTTPS_PROXY", "http://proxy:3128")
	for range 5 {
		shuffled := img.WithLabels(maps.Collect(maps.All(map[string]string{"d": "4", "c": "3", "b": "2", "a": "1"})))
		if id := identify(t, shuffled, placeOf(second)); id != before {
			t.Fatalf("two checkouts: %s and %s", before, id)
		}
	}
	relative := placeOf(second)
	t.Chdir(filepath.Dir(second))
	relative.Source.Dir = filepath.Base(second)
	if id := identify(t, img, relative); id != before {
		t.Error("a relative path to the same folder is another identifier")
	}
}

func TestURI(t *testing.T) {
	at := placeOf(t.TempDir())
	img := DebianBase("3.12").WithRegistry("localhost:5000/team").WithName("train")
	id := identify(t, img, at).Encoded()[:32]
	for want, img := range map[string]Image{
		"localhost:5000/team/train:v1":             img.WithTag("v1"),
		"localhost:5000/team/train:" + id:          img,
		"localhost:5000/team/train:" + id + "-dev": img.WithTagFormat("{spec_hash}-dev"),
	} {
		if got, err := img.URI(t.Context(), at); err != nil || got != want {
			t.Errorf("got %s (%v), want %s", got, err, want)
		}
	}
	if _, err := DebianBase("").URI(t.Context(), at); err == nil {
		t.Error("an image without a name has a URI")
	}
}

type finder struct {
	t    *testing.T
	want string
}

func (f finder) Find(_ context.Context, ref reference.Named, list []ocispecs.Platform) (bool, bool, string) {
	if ref.String() != f.want || len(list) != 1 {
		f.t.Errorf("asked for %s for %v", ref, list)
	}
	return false, false, "it is asleep"
}

func TestExists(t *testing.T) {
	img := DebianBase("").WithRegistry("localhost:5000").WithName("x").WithTag("v1")
	got := img.Exists(t.Context(), placeOf(t.TempDir()), finder{t, "localhost:5000/x:v1"})
	if got.Known || got.There || got.Reason != "it is asleep" {
		t.Errorf("%+v", got)
	}
	if got := DebianBase("").Exists(t.Context(), placeOf(t.TempDir()), finder{t, ""}); got.Known || got.Reason == "" {
		t.Errorf("without a name: %+v", got)
	}
}

func TestIsContainer(t *testing.T) {
	at := placeOf(t.TempDir())
	img := DebianBase("3.12")
	t.Setenv(llb.ImageIDVariable, "")
	if in, err := img.IsContainer(t.Context(), at); in || err != nil {
		t.Errorf("outside: %v, %v", in, err)
	}
	t.Setenv(llb.ImageIDVariable, identify(t, img, at).String())
	if in, err := img.IsContainer(t.Context(), at); !in || err != nil {
		t.Errorf("inside: %v, %v", in, err)
	}
	if in, _ := DebianBase("3.11").IsContainer(t.Context(), at); in {
		t.Error("in another image")
	}
}

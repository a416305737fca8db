package spec

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// TestSourceCopyMode has flytekit's three modes, and none said, with and without a folder.
func TestSourceCopyMode(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"app/main.py": "import used\n", "app/used.py": "", "app/unused.py": ""} {
		writeTo(t, filepath.Join(dir, name), text)
	}
	all := []string{"app"}
	imported := []string{"app/main.py", "app/used.py"}
	for text, want := range map[string][]string{
		"source_root: app\nsource_copy_mode: all\n":  all,
		"source_root: app\nsource_copy_mode: auto\n": imported,
		"source_root: app\nsource_copy_mode: none\n": nil,
		"source_root: app\n":                         all,
		"source_copy_mode: none\n":                   nil,
		"":                                           nil,
	} {
		plan, err := Load(source.Source{Name: "image.yaml", Dir: dir, Data: []byte(text + "entrypoint: [python, main.py]\n")})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := copied(plan.Image); !slices.Equal(got, want) {
			t.Errorf("%q copies %q, want %q", text, got, want)
		}
	}
}

// copied are the files and folders that the steps of an image copy.
func copied(img *llb.Image) []string {
	var list []string
	for _, s := range img.Steps {
		c, ok := s.(llb.Copy)
		switch {
		case !ok:
		case len(c.Only) == 0:
			list = append(list, c.Src)
		default:
			for _, f := range c.Only {
				list = append(list, filepath.Join(c.Src, f))
			}
		}
	}
	return slices.Sorted(slices.Values(list))
}

package launch

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestUnused: what would do nothing is refused, and not passed over.
func TestUnused(t *testing.T) {
	dir := folder(t, map[string]string{"train.py": "print(1)\n", "header.py": "# /// script\n# dependencies = []\n# ///\n", "image/Dockerfile": "FROM scratch\n"})
	for _, c := range []struct {
		name, source string
		o            Options
		says         string
	}{
		{"a header decides", "header.py", Options{Python: "3.11"}, "a Python version does nothing here: the header's requires-python decides"},
		{"prebuilt", "train.py", Options{Python: "3.11", Mode: Prebuilt}, "in the mode prebuilt the image has its own"},
		{"a Dockerfile", "image", Options{Python: "3.11"}, "the image says itself"},
		{"a folder with a Dockerfile", "image", Options{Folder: dir}, "a folder that goes along does nothing here"},
		{"imports of a Dockerfile", "image", Options{Carry: CarryImports}, "a folder that goes along does nothing here"},
		{"base images, bundled", "train.py", Options{BaseRepo: "r/bases"}, "a repository of base images does nothing here: the mode bundled takes none"},
		{"bundled", "train.py", Options{Python: "3.11"}, ""},
		{"base images", "train.py", Options{BaseRepo: "r/bases", Mode: Prebuilt}, ""},
	} {
		c.o.Source, c.o.Dir, c.o.Home, c.o.Repository = filepath.Join(dir, c.source), dir, filepath.Dir(dir), "ghcr.io/me/runs"
		c.o.Accelerator = accelerator("cpu")
		_, err := NewPlan(c.o)
		if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}

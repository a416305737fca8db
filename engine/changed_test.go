package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/llb"
)

// What changed while it was built is named, but not without end.
func TestWhatChanged(t *testing.T) {
	f := newFixture(t)
	f.base()
	dir := source(t, map[string]string{"lib/one.py": "1", "main.py": "print(1)"})
	req := Request{Plan: f.plan(dir, llb.Copy{Local: "context", Src: "lib", Dst: "/lib", Dir: true}), Outputs: Outputs{Push: true, Names: f.names("app:1")}}
	b := f.start(req)
	rec, err := b.record(t.Context(), b.buildFunc())
	check(t, err)
	_, err = rec.Graph(t.Context())
	check(t, err)
	b.rec = rec
	is := func(want string) {
		t.Helper()
		if got := b.whatChanged(t.Context()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	is("files changed while they were built")
	plant(t, dir, map[string]string{"main.py": "print(2)", "lib/a new one.py": "2"})
	check(t, os.Remove(filepath.Join(dir, "lib/one.py")))
	is(`files changed while they were built ("lib/a new one.py", "lib/one.py")`)
	for i := range 6 {
		plant(t, dir, map[string]string{fmt.Sprintf("lib/%d", i): "x"})
	}
	if got := b.whatChanged(t.Context()); !strings.HasSuffix(got, `"lib/4" and 3 more)`) {
		t.Error(got)
	}
}

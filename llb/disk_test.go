package llb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/solver/pb"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
	"golang.org/x/sys/unix"
)

// allKinds is a folder with everything that a folder can hold.
func allKinds(t *testing.T) string {
	t.Helper()
	dir := fill(t, map[string]string{
		"a": "1", "b-": "2", "b/x": "3", "b/deep/er/y": "4", "b/deep.txt": "5", "empty": "", "bin/run": "#!",
		"link": "->b", "b/up": "->../a", "out": "->/etc/passwd", "none": "->missing", "z": "6", "latin-\xe9/f": "7",
	})
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "void"), 0o700),
		os.Chmod(filepath.Join(dir, "bin/run"), 0o755|fs.ModeSetuid),
		os.Chmod(filepath.Join(dir, "void"), 0o777|fs.ModeSticky),
		os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b/hard")),
		os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "second")),
		os.Link(filepath.Join(dir, "link"), filepath.Join(dir, "link2")),
		unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := setxattr(filepath.Join(dir, "z"), "1"); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	return dir
}

// shown is what a walk shows, without the nanoseconds that say the content.
func shown(t *testing.T, files fsutil.FS, target string) []string {
	t.Helper()
	var list []string
	err := files.Walk(t.Context(), target, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*fstypes.Stat)
		if fs.FileMode(st.Mode).IsRegular() && st.Linkname == "" {
			st.ModTime -= st.ModTime % 1e9
		}
		list = append(list, fmt.Sprintf("%q %s %v", p, e.Type().Type(), st))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What builders see is what fsutil's own file system shows them.
func TestDiskIsAsFsutil(t *testing.T) {
	dir := allKinds(t)
	theirs, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := Local{Dir: dir}.FS()
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"", "/", ".", "b", "b/deep", "/b/x", "missing", "a/below", "link", "z"} {
		if d := cmp.Diff(shown(t, theirs, target), shown(t, ours, target)); d != "" {
			t.Errorf("%q (-theirs +ours):\n%s", target, d)
		}
	}
}

// What is listed is what the library lets through, whatever the rules.
func TestListingIsWhatIsSent(t *testing.T) {
	dir := allKinds(t)
	theirs, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, attrs := range []map[string]string{
		nil,
		{pb.AttrExcludePatterns: `["b"]`},
		{pb.AttrExcludePatterns: `["**/deep","!b/deep/er"]`},
		{pb.AttrExcludePatterns: `["*","!b/x","!link"]`},
		{pb.AttrIncludePatterns: `["b/deep/er/y","z"]`},
		{pb.AttrIncludePatterns: `["b/**/y"]`},
		{pb.AttrIncludePatterns: `["b*"]`, pb.AttrExcludePatterns: `["**/x"]`},
		{pb.AttrFollowPaths: `["link/x"]`},
		{pb.AttrFollowPaths: `["b/up","none","out"]`},
		{pb.AttrFollowPaths: `["link*/d*"]`},
		{pb.AttrFollowPaths: `["/"]`},
		{pb.AttrIncludePatterns: `["nothing"]`},
	} {
		s := &localSource{local: Local{Dir: dir}, attrs: attrs}
		filtered, err := s.filter(theirs)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if err := filtered.Walk(t.Context(), "", func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			st := info.Sys().(*fstypes.Stat)
			want = append(want, fmt.Sprint(filepath.ToSlash(p), fs.FileMode(st.Mode), st.Linkname))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		l, err := s.list(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range l.files {
			got = append(got, fmt.Sprint(f.Path, f.Mode, f.Linkname))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%v (-sent +listed):\n%s", attrs, d)
		}
	}
}

// A folder that cannot be listed is an error, not an empty one.
func TestUnreadableFolder(t *testing.T) {
	dir := fill(t, map[string]string{"sub/a": "1"})
	d, err := newDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := (namesFS{d}).Walk(t.Context(), "", func(string, fs.DirEntry, error) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is gone: %v", err)
	}
}

func TestWalkSkips(t *testing.T) {
	dir := fill(t, map[string]string{"a/1": "", "a/2": "", "b/1": "", "b/2": "", "c": ""})
	d, err := newDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for _, c := range []struct {
		at   string
		err  error
		want string
	}{
		{"a", fs.SkipDir, "a b b/1 b/2 c"},
		{"a/1", fs.SkipDir, "a a/1 b b/1 b/2 c"},
		{"c", fs.SkipDir, "a a/1 a/2 b b/1 b/2 c"},
		{"b/1", fs.SkipAll, "a a/1 a/2 b b/1"},
		{"a/2", broken, "a a/1 a/2"},
	} {
		var got []string
		err := namesFS{d}.Walk(t.Context(), "", func(p string, _ fs.DirEntry, err error) error {
			got = append(got, filepath.ToSlash(p))
			if got[len(got)-1] == c.at {
				return c.err
			}
			return err
		})
		if text := strings.Join(got, " "); text != c.want || errors.Is(c.err, broken) != (err != nil) {
			t.Errorf("%v at %s: %s, %v", c.err, c.at, text, err)
		}
	}
	if !slices.Equal(shown(t, namesFS{d}, "c"), shown(t, namesFS{d}, "/c")) {
		t.Error("a leading slash is another file")
	}
}

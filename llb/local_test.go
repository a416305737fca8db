package llb

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/continuity/sysx"
	"github.com/google/go-cmp/cmp"
	bk "github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	"golang.org/x/sys/unix"
)

// readable is a reference to a local source, as a frontend gets it from the recorder.
func readable(t *testing.T, l Local, opts ...bk.LocalOption) gateway.Reference {
	t.Helper()
	rec := NewRecorder(nil, &Plan{Locals: map[string]Local{"context": l}}, amd64)
	def, err := bk.Local("context", opts...).Marshal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	res, err := rec.Solve(t.Context(), gateway.SolveRequest{Definition: def.ToPB()})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := res.SingleRef()
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func fill(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, link := strings.CutPrefix(data, "->"); link {
			err = os.Symlink(to, p)
		} else {
			err = os.WriteFile(p, []byte(data), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadingOfLocalSources(t *testing.T) {
	outside := fill(t, map[string]string{"secret": "canary"})
	dir := fill(t, map[string]string{
		"top/Dockerfile": "FROM scratch\n", "top/deep/file": "0123456789", "top/link": "->deep/file", "top/up": "->../secret",
		"top/abs": "->" + outside + "/secret", "top/folder": "->" + outside, "secret": "canary",
	})
	onDisk := Local{Dir: filepath.Join(dir, "top")}
	inMemory := Local{Files: map[string][]byte{"Dockerfile": []byte("FROM scratch\n"), "deep/file": []byte("0123456789")}}
	for where, l := range map[string]Local{"on disk": onDisk, "in memory": inMemory} {
		ref := readable(t, l)
		for name, want := range map[string]string{
			"Dockerfile": "FROM scratch\n", "/Dockerfile": "FROM scratch\n", "./deep/../Dockerfile": "FROM scratch\n",
			"deep/file": "0123456789", "../../../Dockerfile": "FROM scratch\n",
		} {
			data, err := ref.ReadFile(t.Context(), gateway.ReadRequest{Filename: name})
			if err != nil || string(data) != want {
				t.Errorf("%s: %s is %q, %v", where, name, data, err)
			}
			st, err := ref.StatFile(t.Context(), gateway.StatRequest{Path: name})
			if err != nil || st.Size != int64(len(want)) || !fs.FileMode(st.Mode).IsRegular() {
				t.Errorf("%s: stat of %s is %v, %v", where, name, st, err)
			}
		}
		for r, want := range map[gateway.FileRange]string{{Offset: 2, Length: 3}: "234", {Offset: 8, Length: 100}: "89", {Offset: 100, Length: 1}: "", {}: ""} {
			data, err := ref.ReadFile(t.Context(), gateway.ReadRequest{Filename: "deep/file", Range: &r})
			if err != nil || string(data) != want {
				t.Errorf("%s: %+v is %q, %v", where, r, data, err)
			}
		}
		if _, err := ref.ReadFile(t.Context(), gateway.ReadRequest{Filename: "none"}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a missing file: %v", where, err)
		}
		if _, err := ref.StatFile(t.Context(), gateway.StatRequest{Path: "none"}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: stat of a missing file: %v", where, err)
		}
	}

	ref := readable(t, onDisk)
	if data, err := ref.ReadFile(t.Context(), gateway.ReadRequest{Filename: "link"}); err != nil || string(data) != "0123456789" {
		t.Errorf("a link inside: %q, %v", data, err)
	}
	for _, name := range []string{"up", "abs", "folder/secret"} {
		if data, err := ref.ReadFile(t.Context(), gateway.ReadRequest{Filename: name}); err == nil {
			t.Errorf("%s leads out of the folder: %q", name, data)
		}
		if st, err := ref.StatFile(t.Context(), gateway.StatRequest{Path: name}); err == nil {
			t.Errorf("stat of %s leads out of the folder: %v", name, st)
		}
	}
	if list, err := ref.ReadDir(t.Context(), gateway.ReadDirRequest{Path: "folder"}); err == nil {
		t.Errorf("a folder outside is listed: %v", list)
	}
	for pattern, want := range map[string][]string{"": {"Dockerfile", "abs", "deep", "folder", "link", "up"}, "D*": {"Dockerfile"}, "x": nil, "[": nil} {
		list, err := ref.ReadDir(t.Context(), gateway.ReadDirRequest{Path: "/", IncludePattern: pattern})
		var got []string
		for _, st := range list {
			got = append(got, st.Path)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q lists %v, %v", pattern, got, err)
		}
	}
	var needs *NeedsBuilderError
	if _, err := readable(t, inMemory).ReadDir(t.Context(), gateway.ReadDirRequest{Path: "/"}); !errors.As(err, &needs) {
		t.Errorf("a listing of memory: %v", err)
	}
}

func localDigest(t *testing.T, l Local, attrs map[string]string) (digest.Digest, error) {
	t.Helper()
	s := &localSource{name: "context", local: l, attrs: attrs}
	list, err := s.list(t.Context())
	if err != nil {
		return "", err
	}
	return list.digest, nil
}

// The digest covers all that reaches the image: what BuildKit's own key of the files covers, too
// (cache/contenthash).
func TestDigestCovers(t *testing.T) {
	seen := map[digest.Digest]string{}
	for name, change := range map[string]func(dir string) error{
		"nothing":       func(string) error { return nil },
		"content":       func(d string) error { return os.WriteFile(filepath.Join(d, "a"), []byte("2"), 0o644) },
		"a file":        func(d string) error { return os.WriteFile(filepath.Join(d, "b"), nil, 0o644) },
		"a folder":      func(d string) error { return os.Mkdir(filepath.Join(d, "b"), 0o755) },
		"a mode":        func(d string) error { return os.Chmod(filepath.Join(d, "a"), 0o600) },
		"a setuid bit":  func(d string) error { return os.Chmod(filepath.Join(d, "a"), 0o644|fs.ModeSetuid) },
		"a folder's":    func(d string) error { return os.Chmod(filepath.Join(d, "sub"), 0o700) },
		"a link":        func(d string) error { return os.Symlink("a", filepath.Join(d, "b")) },
		"its target":    func(d string) error { return os.Symlink("c", filepath.Join(d, "b")) },
		"a pipe":        func(d string) error { return unix.Mkfifo(filepath.Join(d, "b"), 0o644) },
		"a move":        func(d string) error { return os.Rename(filepath.Join(d, "a"), filepath.Join(d, "sub/a")) },
		"an attribute":  func(d string) error { return setxattr(filepath.Join(d, "a"), "1") },
		"its value":     func(d string) error { return setxattr(filepath.Join(d, "a"), "2") },
		"a file's name": func(d string) error { return os.Rename(filepath.Join(d, "a"), filepath.Join(d, "aa")) },
	} {
		dir := fill(t, map[string]string{"a": "1", "sub/x": "3"})
		if err := change(dir); errors.Is(err, unix.ENOTSUP) {
			t.Logf("%s: not here", name)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		d, err := localDigest(t, Local{Dir: dir}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if other, dup := seen[d]; dup {
			t.Errorf("%q and %q have the same digest", name, other)
		}
		seen[d] = name
	}
}

func setxattr(p, value string) error { return sysx.LSetxattr(p, "user.ibuild", []byte(value), 0) }

// Hard links are how uv, pnpm and git save space; they are files.
func TestHardLinks(t *testing.T) {
	dir := fill(t, map[string]string{"a": "1", "z/other": "2"})
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "z/b")); err != nil {
		t.Fatal(err)
	}
	two := fill(t, map[string]string{"a": "1", "z/other": "2", "z/b": "1"})
	skip := map[string]string{pb.AttrExcludePatterns: `["a"]`}
	one, err := localDigest(t, Local{Dir: dir}, skip)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := localDigest(t, Local{Dir: two}, skip); err != nil || plain != one {
		t.Errorf("a file that is linked to one which nobody sees has another digest (%v)", err)
	}
}

func TestDigestErrors(t *testing.T) {
	dir := fill(t, map[string]string{"a": "1"})
	for name, c := range map[string]struct {
		l     Local
		attrs map[string]string
		want  string
	}{
		"a missing folder": {Local{Dir: filepath.Join(dir, "none")}, nil, "no such file or directory"},
		"a file":           {Local{Dir: filepath.Join(dir, "a")}, nil, "not a directory"},
		"broken patterns":  {Local{Dir: dir}, map[string]string{pb.AttrIncludePatterns: "{"}, "local source context: local.includepattern"},
		"a bad pattern":    {Local{Dir: dir}, map[string]string{pb.AttrExcludePatterns: `["[a"]`}, "invalid excludepatterns"},
	} {
		if d, err := localDigest(t, c.l, c.attrs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s, %v; want %q", name, d, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&localSource{local: Local{Dir: dir}}).list(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled digest: %v", err)
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(filepath.Join(dir, "a"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := localDigest(t, Local{Dir: dir}, nil); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("an unreadable file: %v", err)
		}
	}
}

// growing is a file system whose files are another size than they were.
type growing struct {
	fsutil.FS
	data string
}

func (g growing) Open(string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(g.data)), nil
}

func TestFilesThatChangeWhileTheyAreRead(t *testing.T) {
	for _, data := range []string{"", "1", "123"} {
		if _, err := hashFile(&fieldHash{Hash: sha256.New()}, growing{data: data}, "a", 2); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("%d bytes instead of 2: %v", len(data), err)
		}
	}
	if _, err := hashFile(&fieldHash{Hash: sha256.New()}, growing{data: "12"}, "a", 2); err != nil {
		t.Error(err)
	}
}

// A folder that is swapped for a link while a build reads it leads nowhere.
func TestSwappedFolder(t *testing.T) {
	outside := fill(t, map[string]string{"file": "canary"})
	dir := fill(t, map[string]string{"sub/file": "inside"})
	files, err := (Local{Dir: dir}).FS()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	r, err := files.Open("sub/file") // as the sender does after it has listed the folder
	if err != nil {
		return
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err == nil {
		t.Errorf("a file outside the folder was sent: %q", data)
	}
}

func TestMemory(t *testing.T) {
	l := Local{Files: map[string][]byte{"Dockerfile": []byte("FROM a"), "b/c": []byte("1")}}
	files, err := l.FS()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = files.Walk(t.Context(), "", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		r, err := files.Open(p)
		if err != nil {
			return err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		got[p] = string(data)
		return err
	})
	if d := cmp.Diff(map[string]string{"Dockerfile": "FROM a", "b/c": "1"}, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	one, err := localDigest(t, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := localDigest(t, Local{Files: map[string][]byte{"Dockerfile": []byte("FROM b"), "b/c": []byte("1")}}, nil)
	if err != nil || one == two {
		t.Errorf("another file has the same digest (%v)", err)
	}
	if empty, err := (Local{Files: map[string][]byte{}}).FS(); err != nil {
		t.Error(err)
	} else if err := empty.Walk(t.Context(), "", func(p string, _ fs.DirEntry, err error) error { t.Errorf("%s, %v", p, err); return nil }); err != nil {
		t.Errorf("the empty folder: %v", err)
	}
}

// A step's patterns see the file that it names and no other, when its name begins or ends with what patterns lose.
func TestNamesWithOuterSpaces(t *testing.T) {
	for _, name := range []string{" a ", "\ta\t", "\u00a0", "\u2003a\u0085", "\ufeffa", "\ufeff", "a\ufeff", "!a"} {
		dir := fill(t, map[string]string{name: "", "a": "", "x": ""})
		if got := seen(t, dir, Copy{Src: name}); !slices.Equal(got, []string{name}) {
			t.Errorf("%q sees %q", name, got)
		}
	}
}

package llb

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/solver/pb"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// wire is one end of a connection between a session and a builder.
type wire struct {
	ctx     context.Context
	in, out chan []byte
}

func (w *wire) Context() context.Context { return w.ctx }

func (w *wire) SendMsg(m any) error {
	data, err := proto.Marshal(m.(*fstypes.Packet))
	if err != nil {
		return err
	}
	select {
	case w.out <- data:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func (w *wire) RecvMsg(m any) error {
	select {
	case data, ok := <-w.in:
		if !ok {
			return io.EOF
		}
		return proto.Unmarshal(data, m.(*fstypes.Packet))
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// transfer sends a folder to a builder that has a copy of it from an earlier build in dest, as BuildKit's
// source/local does: with the differ that the definition asks for, names, sizes and times by default.
func transfer(t *testing.T, l Local, differ fsutil.DiffType, dest string) {
	t.Helper()
	if err := receive(t, l, differ, dest, nil); err != nil {
		t.Fatal(err)
	}
}

// send sends a folder to a builder that has nothing of it.
func send(t *testing.T, l Local, dest string, seen func(p string)) error {
	t.Helper()
	return receive(t, l, fsutil.DiffMetadata, dest, seen)
}

// receive is a transfer; seen, if any, is told of each file before it is asked for.
func receive(t *testing.T, l Local, differ fsutil.DiffType, dest string, seen func(p string)) error {
	t.Helper()
	outer, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	files, err := l.Transfer(stop)
	if err != nil {
		t.Fatal(err)
	}
	if files, err = fsutil.NewFilterFS(files, &fsutil.FilterOpt{Map: func(p string, st *fstypes.Stat) fsutil.MapResult {
		st.Uid, st.Gid = uint32(os.Getuid()), uint32(os.Getgid())
		if seen != nil {
			seen(p)
		}
		return fsutil.MapResultKeep
	}}); err != nil {
		t.Fatal(err)
	}
	eg, ctx := errgroup.WithContext(outer)
	a, b := make(chan []byte, 64), make(chan []byte, 64)
	eg.Go(func() error {
		defer close(a)
		return fsutil.Send(ctx, &wire{ctx, b, a}, files, nil)
	})
	eg.Go(func() error { return fsutil.Receive(ctx, &wire{ctx, a, b}, dest, fsutil.ReceiveOpt{Differ: differ}) })
	err = eg.Wait()
	if cause := context.Cause(outer); cause != nil {
		return cause
	}
	return err
}

// differ is what the definition that goes to the builder says about its local source.
func differ(t *testing.T, img *Image) fsutil.DiffType {
	t.Helper()
	b := &fakeBuilder{}
	if _, err := record(t, img, Options{}).Replay(nil, nil)(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for _, data := range b.solved[0].Def {
		op := &pb.Op{}
		if err := proto.Unmarshal(data, op); err != nil {
			t.Fatal(err)
		}
		if src := op.GetSource(); src != nil && isLocal(src) && src.Attrs[pb.AttrLocalDiffer] == pb.AttrLocalDifferNone {
			return fsutil.DiffNone
		}
	}
	return fsutil.DiffMetadata
}

// The identity of a build is made of contents, so its files have to reach the builder by content, too: a
// file of the same name, size and time as in an earlier build (a reproducible archive, a Nix store, a
// checkout that restores times) would be the old one in the new image, and be remembered under the new
// identity.
func TestChangedFilesAreSentAgain(t *testing.T) {
	dir, dest := fill(t, map[string]string{"src/f": "AAAA"}), t.TempDir()
	at := time.Unix(1000000000, 0)
	img := &Image{Steps: []Step{Copy{Local: "context", Src: "src", Dst: "/app", Dir: true}}, Locals: map[string]Local{"context": {Dir: dir}}}
	for _, data := range []string{"AAAA", "BBBB"} {
		if err := os.WriteFile(filepath.Join(dir, "src/f"), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, "src/f"), at, at); err != nil {
			t.Fatal(err)
		}
		transfer(t, img.Locals["context"], differ(t, img), dest)
		if got, err := os.ReadFile(filepath.Join(dest, "src/f")); err != nil || string(got) != data {
			t.Errorf("the folder has %q, the builder %q (%v)", data, got, err)
		}
		if info, err := os.Stat(filepath.Join(dest, "src/f")); err != nil || info.ModTime().Unix() != at.Unix() {
			t.Errorf("the builder has the time %v (%v)", info.ModTime(), err)
		}
	}
}

// With plain modes two names of one file are two files: in the digest, and on the builder, which may have
// them as one from an earlier build.
func TestHardLinksArePlainFiles(t *testing.T) {
	dir, dest := fill(t, map[string]string{"a": "1", "z/other": "2"}), t.TempDir()
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "z/b")); err != nil {
		t.Fatal(err)
	}
	two := fill(t, map[string]string{"a": "1", "z/other": "2", "z/b": "1"})
	linked, plain := Local{Dir: dir}, Local{Dir: dir, PlainModes: true}
	one, err := localDigest(t, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := localDigest(t, Local{Dir: two, PlainModes: true}, nil); err != nil || other != one {
		t.Errorf("a hard link has another digest than two files (%v)", err)
	}
	for _, step := range []struct {
		local Local
		same  bool
		text  string
	}{{linked, true, "1"}, {plain, false, "1"}, {plain, false, "22"}, {plain, false, ""}, {linked, true, "3"}, {plain, false, "3"}} {
		if err := os.WriteFile(filepath.Join(dir, "a"), []byte(step.text), 0o644); err != nil { // and z/b with it
			t.Fatal(err)
		}
		transfer(t, step.local, fsutil.DiffMetadata, dest)
		var infos []os.FileInfo
		for _, name := range []string{"a", "z/b"} {
			data, err := os.ReadFile(filepath.Join(dest, name))
			if err != nil || string(data) != step.text {
				t.Errorf("%+v: %s is %q, %v", step, name, data, err)
			}
			info, err := os.Stat(filepath.Join(dest, name))
			if err != nil {
				t.Fatal(err)
			}
			infos = append(infos, info)
		}
		if os.SameFile(infos[0], infos[1]) != step.same {
			t.Errorf("%+v: one file: %v", step, !step.same)
		}
	}
}

// What is sent is what the identity was made of, or the build is an error that names the file.
func TestFilesThatChangeBeforeTheyAreSent(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p string) error
		want   string // "" for none
	}{
		"nothing":       {func(string) error { return nil }, ""},
		"a touch":       {func(p string) error { return os.Chtimes(p, time.Now(), time.Now()) }, ""},
		"as many bytes": {func(p string) error { return os.WriteFile(p, []byte("2222"), 0o644) }, "sub/a changed during the build"},
		"more":          {func(p string) error { return os.WriteFile(p, []byte("11111"), 0o644) }, "sub/a changed during the build"},
		"fewer":         {func(p string) error { return os.WriteFile(p, []byte("1"), 0o644) }, "sub/a changed during the build"},
		"none":          {func(p string) error { return os.Truncate(p, 0) }, "sub/a changed during the build"},
		"gone":          {os.Remove, "sub/a changed during the build"},
		"a link":        {func(p string) error { return errors.Join(os.Remove(p), os.Symlink("b", p)) }, "sub/a changed during the build"},
	} {
		for when, seen := range map[string]bool{"before it is looked at": false, "after it was looked at": true} {
			dir := fill(t, map[string]string{"sub/a": "1111", "sub/b": "2"})
			plan := (&Plan{Locals: map[string]Local{"context": {Dir: dir}}}).WithSums(nil)
			s := localSource{local: plan.Locals["context"]}
			if _, err := s.list(t.Context()); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "sub/a")
			var change func(string)
			if seen {
				change = func(p string) {
					if filepath.Base(p) == "a" {
						if err := c.change(file); err != nil {
							t.Error(err)
						}
					}
				}
			} else if err := c.change(file); err != nil {
				t.Fatal(err)
			}
			if !seen && (name == "gone" || name == "a link") {
				continue // it is no file to send any more, which the stamp tells
			}
			dest := t.TempDir()
			err := send(t, s.local, dest, change)
			switch got, _ := os.ReadFile(filepath.Join(dest, "sub/a")); {
			case c.want == "" && (err != nil || string(got) != "1111"):
				t.Errorf("%s, %s: %q, %v", name, when, got, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s, %s: %q, %v", name, when, got, err)
			}
		}
	}
}

// Who knows a file's size may not read on to its end.
func TestCheckedFileNeedsNoEnd(t *testing.T) {
	for text, whole := range map[string]bool{"1111": true, "1112": false} {
		dir := fill(t, map[string]string{"a": "1111"})
		l := Local{Dir: dir}.withSums()
		if _, err := (&localSource{local: l}).list(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "a"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files, err := l.FS()
		if err != nil {
			t.Fatal(err)
		}
		f, err := files.Open("a")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if n, err := io.ReadFull(f, make([]byte, 4)); whole != (err == nil) {
			t.Errorf("%s: %d bytes, %v", text, n, err)
		}
	}
}

// A file that is written to while it is read is an error.
func TestFilesThatChangeWhileTheyAreHashed(t *testing.T) {
	for name, change := range map[string]func(p string) error{
		"content": func(p string) error { return os.WriteFile(p, []byte("2222"), 0o644) },
		"size":    func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"file":    func(p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, []byte("1111"), 0o644)) },
		"pipe":    func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o644)) },
	} {
		dir := fill(t, map[string]string{"a": "1111"})
		v, err := disk{dir}.visit()
		if err != nil {
			t.Fatal(err)
		}
		defer v.close()
		f, err := v.lstat("a")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // a step of every clock
		if err := change(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		if _, err := newSums("", nil).read(v, &f, make([]byte, 10)); err == nil || !strings.Contains(err.Error(), "a changed while it was read") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

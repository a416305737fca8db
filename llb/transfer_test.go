package llb

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/moby/buildkit/solver/pb"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
	"golang.org/x/sync/errgroup"
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
	files, err := l.FS()
	if err != nil {
		t.Fatal(err)
	}
	if files, err = fsutil.NewFilterFS(files, &fsutil.FilterOpt{Map: func(_ string, st *fstypes.Stat) fsutil.MapResult {
		st.Uid, st.Gid = uint32(os.Getuid()), uint32(os.Getgid())
		return fsutil.MapResultKeep
	}}); err != nil {
		t.Fatal(err)
	}
	eg, ctx := errgroup.WithContext(t.Context())
	a, b := make(chan []byte, 64), make(chan []byte, 64)
	eg.Go(func() error {
		defer close(a)
		return fsutil.Send(ctx, &wire{ctx, b, a}, files, nil)
	})
	eg.Go(func() error { return fsutil.Receive(ctx, &wire{ctx, a, b}, dest, fsutil.ReceiveOpt{Differ: differ}) })
	if err := eg.Wait(); err != nil {
		t.Fatal(err)
	}
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

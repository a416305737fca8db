package engine

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	continuity "github.com/containerd/continuity/fs"
	"github.com/containerd/continuity/sysx"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/sys/user"
	"github.com/opencontainers/go-digest"
	fscopy "github.com/tonistiigi/fsutil/copy"
	fstypes "github.com/tonistiigi/fsutil/types"
	"google.golang.org/protobuf/proto"
)

// interpreter does what BuildKit's solver/llbsolver/file does for the file operations of a definition, with
// the library that it does it with.
type interpreter struct {
	t       *testing.T
	img     *llb.Image
	root    string                   // the tree that is worked on
	sources map[digest.Digest]string // local sources, as they arrived
}

func (in *interpreter) run() error {
	def := definition(in.t, in.img)
	if def == nil {
		return nil // the empty image
	}
	for _, data := range def.Def {
		op := &pb.Op{}
		check(in.t, proto.Unmarshal(data, op))
		d := digest.FromBytes(data)
		if src := op.GetSource(); src != nil {
			in.sources[d] = in.receive(src)
		}
		for _, a := range op.GetFile().GetActions() {
			if err := in.action(op, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive writes what is sent to a folder; everything belongs to who receives it.
func (in *interpreter) receive(src *pb.SourceOp) string {
	dir := in.t.TempDir()
	files := localFS(in.t, in.img, src)
	check(in.t, files.Walk(in.t.Context(), "", func(p string, e fs.DirEntry, err error) error {
		check(in.t, err)
		info, err := e.Info()
		check(in.t, err)
		to := filepath.Join(dir, p)
		switch {
		case info.IsDir():
			check(in.t, os.Mkdir(to, 0o700))
			return os.Chmod(to, info.Mode())
		case info.Mode()&fs.ModeSymlink != 0:
			return os.Symlink(info.Sys().(*fstypes.Stat).Linkname, to)
		}
		r, err := files.Open(p)
		check(in.t, err)
		defer r.Close()
		data, err := io.ReadAll(r)
		check(in.t, err)
		check(in.t, os.WriteFile(to, data, 0o600))
		for k, v := range info.Sys().(*fstypes.Stat).Xattrs {
			if strings.HasPrefix(k, "user.") {
				check(in.t, sysx.LSetxattr(to, k, v, 0))
			}
		}
		return os.Chmod(to, info.Mode())
	}))
	return dir
}

func (in *interpreter) action(op *pb.Op, a *pb.FileAction) error {
	switch a := a.Action.(type) {
	case *pb.FileAction_Mkdir:
		p, err := continuity.RootPath(in.root, a.Mkdir.Path)
		if err != nil {
			return err
		}
		_, err = fscopy.MkdirAll(p, os.FileMode(a.Mkdir.Mode)&0o777, nil, stamp(a.Mkdir.Timestamp))
		return err
	case *pb.FileAction_Mkfile:
		p, err := continuity.RootPath(in.root, path.Join("/", a.Mkfile.Path))
		if err != nil {
			return err
		}
		tmp := filepath.Join(filepath.Dir(p), ".tmp-mkfile")
		if err := os.WriteFile(tmp, a.Mkfile.Data, 0o600); err != nil {
			return err
		}
		check(in.t, os.Chmod(tmp, os.FileMode(a.Mkfile.Mode)&0o777)) // the umask
		check(in.t, os.Chtimes(tmp, *stamp(a.Mkfile.Timestamp), *stamp(a.Mkfile.Timestamp)))
		return os.Rename(tmp, p)
	case *pb.FileAction_Copy:
		return in.copy(op, a.Copy, in.secondary(op))
	}
	in.t.Fatalf("an action of type %T", a.Action)
	return nil
}

// secondary is the local source that a copy reads: the one input that is a source.
func (in *interpreter) secondary(op *pb.Op) string {
	for _, i := range op.Inputs {
		if dir, ok := in.sources[digest.Digest(i.Digest)]; ok {
			return dir
		}
	}
	in.t.Fatal("a copy from nowhere")
	return ""
}

func (in *interpreter) copy(_ *pb.Op, a *pb.FileActionCopy, from string) error {
	chown := func(old *fscopy.User) (*fscopy.User, error) { return old, nil }
	if a.Owner != nil {
		u := in.user(a.Owner)
		chown = func(*fscopy.User) (*fscopy.User, error) { return &u, nil }
	}
	dest := path.Clean("/" + a.Dest)
	if strings.HasSuffix(a.Dest, "/") && dest != "/" {
		dest += "/"
	}
	return fscopy.Copy(in.t.Context(), from, path.Clean("/"+a.Src), in.root, dest, func(ci *fscopy.CopyInfo) {
		ci.Chown, ci.Utime, ci.ModeStr = chown, stamp(a.Timestamp), a.ModeStr
		ci.CopyDirContents, ci.FollowLinks, ci.AlwaysReplaceExistingDestPaths = a.DirCopyContents, a.FollowSymlink, a.AlwaysReplaceExistingDestPaths
		ci.IncludePatterns, ci.ExcludePatterns = a.IncludePatterns, a.ExcludePatterns
	})
}

// user does what BuildKit's solver/llbsolver/ops does (readUser), with the same library.
func (in *interpreter) user(o *pb.ChownOpt) (u fscopy.User) {
	if name := o.User.GetByName(); name != nil {
		list, err := user.ParsePasswdFilter(in.open("/etc/passwd"), func(u user.User) bool { return u.Name == name.Name })
		check(in.t, err)
		if len(list) > 0 {
			u.UID, u.GID = list[0].Uid, list[0].Gid
		}
	} else {
		u.UID, u.GID = int(o.User.GetByID()), int(o.User.GetByID())
	}
	switch name := o.Group.GetByName(); {
	case name != nil:
		list, err := user.ParseGroupFilter(in.open("/etc/group"), func(g user.Group) bool { return g.Name == name.Name })
		check(in.t, err)
		if len(list) > 0 {
			u.GID = list[0].Gid
		}
	case o.Group != nil:
		u.GID = int(o.Group.GetByID())
	}
	return u
}

// open reads a file of the tree; one that is not there is empty.
func (in *interpreter) open(name string) io.Reader {
	p, err := continuity.RootPath(in.root, name)
	check(in.t, err)
	data, err := os.ReadFile(p)
	if !errors.Is(err, fs.ErrNotExist) {
		check(in.t, err)
	}
	return bytes.NewReader(data)
}

func stamp(ns int64) *time.Time {
	t := time.Unix(0, ns)
	return &t
}

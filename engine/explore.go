package engine

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/ibuild/ibuild/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// usualPlaces are listed whenever a builder looks into an environment, beside what the code of the moment needs:
// code that goes to one of them tomorrow needs no builder then.
func usualPlaces(config *llb.Config) []string {
	return []string{config.Workdir(), "/app", "/etc", "/home", "/opt", "/srv", "/usr/local/bin", "/var/lib"}
}

// explorer adds to facts what a builder's reference shows.
type explorer struct {
	facts *Facts
	ref   gateway.Reference // nil is the empty image
}

// explore adds to f what has to be known to put the code on the tree behind ref, and the usual places. It lays
// the code out as [codeTree.layers] does later, so that no path is asked for then that was not looked at.
func (f *Facts) explore(ctx context.Context, ref gateway.Reference, env llb.RecordedImage, img *llb.Image, code []llb.Step) error {
	x := &explorer{facts: f, ref: ref}
	c, err := llb.ParseConfig(env.Config, env.Platform)
	if err != nil {
		return err
	}
	t := &codeTree{facts: f, added: map[string]Node{}, more: x}
	for _, p := range usualPlaces(c) {
		if err := t.look(ctx, p); err != nil {
			return err
		}
	}
	if err := x.users(ctx, t); err != nil {
		return err
	}
	_, err = t.layers(ctx, img, code, c)
	var needs *needsBuilder
	if errors.As(err, &needs) {
		return nil // found out once more when the layers are made
	}
	return err
}

// look lists the folder that p leads to, if it does.
func (t *codeTree) look(ctx context.Context, p string) error {
	dir, err := t.resolve(ctx, p)
	var n Node
	if err == nil {
		n, err = t.node(ctx, dir)
	}
	if err == nil && n.Kind == Folder {
		err = t.more.list(ctx, dir)
	}
	var needs *needsBuilder
	if errors.As(err, &needs) {
		return nil
	}
	return err
}

// list records the entries of a folder that is there.
func (x *explorer) list(ctx context.Context, dir string) error {
	f := x.facts
	if _, done := f.Folders[dir]; done || slices.Contains(f.Large, dir) {
		return nil
	}
	if f.Folders == nil {
		f.Folders = map[string]map[string]Node{}
	}
	entries := map[string]Node{}
	if x.ref != nil {
		list, err := x.ref.ReadDir(ctx, gateway.ReadDirRequest{Path: dir})
		if err != nil {
			return err
		}
		if len(list) > maxListing {
			f.Large = append(f.Large, dir)
			return nil
		}
		for _, st := range list {
			if name := path.Base(st.Path); validName(name) {
				entries[name] = nodeOf(st)
			}
		}
	}
	f.Folders[dir] = entries
	return nil
}

func nodeOf(st *fstypes.Stat) Node {
	m := fs.FileMode(st.Mode)
	_, inherits := st.Xattrs["system.posix_acl_default"] // what is made in it has other modes than it asks for
	switch {
	case m.IsDir() && !inherits && st.Uid < 1<<31 && st.Gid < 1<<31:
		return Node{Kind: Folder, Mode: m &^ fs.ModeDir, UID: int(st.Uid), GID: int(st.Gid)}
	case m.IsRegular():
		return Node{Kind: File}
	case m&fs.ModeSymlink != 0 && validLink(st.Linkname):
		return Node{Kind: Link, Link: st.Linkname}
	}
	return Node{Kind: Other}
}

// users reads /etc/passwd and /etc/group, or finds out that they are not for this process to read.
func (x *explorer) users(ctx context.Context, t *codeTree) error {
	if x.facts.Users != nil || x.facts.NoUsers {
		return nil
	}
	u := &Users{}
	for name, data := range map[string]*[]byte{passwdFile: &u.Passwd, groupFile: &u.Group} {
		usable, err := x.userFile(ctx, t, name, data)
		if err != nil {
			return err
		}
		if !usable {
			x.facts.NoUsers = true
			return nil
		}
	}
	x.facts.Users = u
	return nil
}

// userFile reads one of them; one that is not there is empty.
func (x *explorer) userFile(ctx context.Context, t *codeTree, name string, data *[]byte) (usable bool, err error) {
	p, err := t.resolve(ctx, name)
	var n Node
	if err == nil {
		n, err = t.node(ctx, p)
	}
	var needs *needsBuilder
	switch {
	case errors.As(err, &needs):
		return false, nil
	case err != nil:
		return false, err
	case n.Kind == Absent:
		return true, nil
	case n.Kind != File:
		return false, nil
	}
	*data, err = x.ref.ReadFile(ctx, gateway.ReadRequest{Filename: p, Range: &gateway.FileRange{Length: maxUserFile + 1}})
	return err == nil && len(*data) <= maxUserFile, err
}

// merged returns the facts of both about one image. Neither changes.
func (f *Facts) merged(o *Facts) *Facts {
	out := &Facts{Folders: map[string]map[string]Node{}, Large: slices.Concat(f.Large, o.Large), Users: f.Users}
	for _, one := range []*Facts{o, f} {
		maps.Copy(out.Folders, one.Folders)
	}
	out.Large = slices.DeleteFunc(out.Large, func(dir string) bool { return out.Folders[dir] != nil })
	slices.Sort(out.Large)
	out.Large = slices.Compact(out.Large)
	if out.Users == nil {
		out.Users = o.Users
	}
	out.NoUsers = out.Users == nil && (f.NoUsers || o.NoUsers)
	return out
}

package engine

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// maxListing is the largest folder whose entries are remembered. Code that goes into a larger one is put
// there by a builder.
const maxListing = 4096

// Facts are what is known about the file tree of an environment image: the folders that code goes into,
// with all their entries. They are recorded while the image is built and never guessed: a path below a
// folder that is not listed is unknown.
type Facts struct {
	// Folders maps the absolute path of a folder to the kind of each of its entries.
	Folders map[string]map[string]Kind `json:"folders"`
	// Large are the folders that have too many entries to be remembered.
	Large []string `json:"large,omitempty"`
}

// Kind is what a path is.
type Kind string

// The kinds that matter for code: everything that is neither a folder nor a file sends it to a builder.
const (
	Absent Kind = ""
	Folder Kind = "folder"  // root's, with mode 0755
	Own    Kind = "special" // a folder with another owner or mode, such as /tmp
	File   Kind = "file"
	Other  Kind = "other"
)

// kind says what a path is, as far as is known.
func (f *Facts) kind(p string) (k Kind, known bool) {
	if p == "/" {
		return Folder, true
	}
	if entries, ok := f.Folders[path.Dir(p)]; ok {
		return entries[path.Base(p)], true
	}
	parent, known := f.kind(path.Dir(p))
	if known && parent == Absent {
		return Absent, true
	}
	return Absent, false
}

// look records every folder on the way to the given absolute paths that exists in the tree behind ref.
func (f *Facts) look(ctx context.Context, ref gateway.Reference, paths []string) error {
	for _, p := range paths {
		dir := "/"
		for _, name := range strings.Split(strings.TrimPrefix(p, "/"), "/") {
			if err := f.list(ctx, ref, dir); err != nil {
				return err
			}
			if k := f.Folders[dir][name]; !k.folder() {
				break
			}
			dir = path.Join(dir, name)
		}
	}
	return nil
}

func (f *Facts) list(ctx context.Context, ref gateway.Reference, dir string) error {
	if _, done := f.Folders[dir]; done {
		return nil
	}
	if f.Folders == nil {
		f.Folders = map[string]map[string]Kind{}
	}
	entries := map[string]Kind{}
	if ref != nil { // nil is the empty image
		list, err := ref.ReadDir(ctx, gateway.ReadDirRequest{Path: dir})
		if err != nil {
			return err
		}
		if len(list) > maxListing {
			if !slices.Contains(f.Large, dir) {
				f.Large = append(f.Large, dir)
			}
			return nil
		}
		for _, st := range list {
			entries[path.Base(st.Path)] = kindOf(st)
		}
	}
	f.Folders[dir] = entries
	return nil
}

func (k Kind) folder() bool { return k == Folder || k == Own }

func kindOf(st *fstypes.Stat) Kind {
	m := fs.FileMode(st.Mode)
	switch {
	case m.IsDir() && st.Uid == 0 && st.Gid == 0 && m == fs.ModeDir|0o755:
		return Folder
	case m.IsDir():
		return Own
	case m.IsRegular():
		return File
	}
	return Other
}

package imagetest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// File is an entry of an image's root file system, without its time.
type File struct {
	Path   string // without a leading slash
	Type   string // "file", "dir", "symlink", "char", "block" or "fifo"
	Mode   int64  // permissions with set-user-id, set-group-id and sticky bit
	UID    int
	GID    int
	Link   string // target of a symlink; of a file with hard links, the first path of it
	Size   int64
	SHA256 string            // of a file's content
	Device string            // major:minor of a device
	Xattrs map[string]string // extended attributes, such as security.capability
}

// String is the file as one line.
func (f File) String() string {
	line := fmt.Sprintf("%s %s %04o %d:%d", f.Path, f.Type, f.Mode, f.UID, f.GID)
	if f.Type == "file" {
		line += fmt.Sprintf(" %d bytes sha256:%.12s", f.Size, f.SHA256)
	}
	if f.Device != "" {
		line += " " + f.Device
	}
	if f.Link != "" {
		line += " -> " + f.Link
	}
	for _, name := range slices.Sorted(maps.Keys(f.Xattrs)) {
		line += fmt.Sprintf(" %s=%q", name, f.Xattrs[name])
	}
	return line
}

// Files lists what an image's root file system contains after all layers have
// been applied, sorted by path.
func Files(img v1.Image) ([]File, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	t := tree{}
	for i, layer := range layers {
		changes, err := changesOf(layer)
		if err == nil {
			err = t.apply(changes)
		}
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return t.list(), nil
}

// ArchiveFiles lists what is in an archive of a root file system, as Files does
// for an image.
func ArchiveFiles(archive io.Reader) ([]File, error) {
	changes, err := list(archive)
	t := tree{}
	if err == nil {
		err = t.apply(changes)
	}
	return t.list(), err
}

// change is an entry of a layer's archive. It is never changed itself: a store
// has one for all images.
type change struct {
	name string
	link string // the name of the file that this one is a hard link to
	file *File  // without a path; nil for a hard link
}

func changesOf(layer v1.Layer) ([]*change, error) {
	if l, ok := layer.(*storedLayer); ok {
		c, err := l.content()
		if err != nil {
			return nil, err
		}
		return c.changes, nil
	}
	archive, err := layer.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return list(archive)
}

// list reads a layer's archive.
func list(archive io.Reader) ([]*change, error) {
	reader := tar.NewReader(archive)
	var changes []*change
	for {
		h, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return changes, nil
		}
		if err != nil {
			return nil, err
		}
		c := &change{name: h.Name}
		if h.Typeflag == tar.TypeLink {
			c.link = h.Linkname
		} else if c.file, err = newFile(h, reader); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		changes = append(changes, c)
	}
}

// tree maps paths to files; hard links are several paths to one file.
type tree map[string]*File

// apply puts a layer on top of the tree.
func (t tree) apply(changes []*change) error {
	own := map[string]bool{} // an opaque folder keeps what its own layer brings
	for _, c := range changes {
		place, err := t.resolve(c.name)
		if err != nil {
			return err
		}
		if t.whiteout(place, own) || place == "" {
			continue
		}
		if err := t.put(place, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		own[place] = true
	}
	return nil
}

// resolve cleans a name and follows symlinks in its parents, as unpacking
// does: with lib -> usr/lib, lib/x is usr/lib/x.
func (t tree) resolve(name string) (string, error) {
	done := ""
	todo := strings.Split(strings.TrimSuffix(name, "/"), "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = parent(done)
			continue
		}
		next := join(done, part)
		f := t[next]
		if f == nil || f.Type != "symlink" || len(todo) == 0 {
			done = next
			continue
		}
		if links++; links > 40 {
			return "", fmt.Errorf("%s: too many symbolic links", name)
		}
		if strings.HasPrefix(f.Link, "/") {
			done = ""
		}
		todo = append(strings.Split(f.Link, "/"), todo...)
	}
	return done, nil
}

func parent(p string) string {
	i := strings.LastIndex(p, "/")
	return p[:max(i, 0)]
}

func join(dir, file string) string {
	if dir == "" {
		return file
	}
	return dir + "/" + file
}

// whiteout removes what the name of an entry says, if it says so.
func (t tree) whiteout(place string, own map[string]bool) bool {
	base, ok := strings.CutPrefix(strings.TrimPrefix(place[len(parent(place)):], "/"), ".wh.")
	if !ok {
		return false
	}
	dir := parent(place)
	if base != ".wh..opq" {
		t.remove(join(dir, base))
		return true
	}
	for path := range t {
		if inside(path, dir) && !own[path] {
			delete(t, path)
		}
	}
	return true
}

// remove removes a path and what is below it.
func (t tree) remove(place string) {
	for path := range t {
		if path == place || inside(path, place) {
			delete(t, path)
		}
	}
}

func inside(path, dir string) bool { return dir == "" || strings.HasPrefix(path, dir+"/") }

// put adds an entry in place of what was there; only a folder on a folder
// leaves the contents.
func (t tree) put(place string, c *change) error {
	if c.file == nil {
		target, err := t.resolve(c.link)
		if err != nil {
			return err
		}
		f := t[target]
		if f == nil {
			return fmt.Errorf("hard link to %s, which is not there", c.link)
		}
		t.remove(place)
		t[place] = f
		return nil
	}
	f := *c.file // a file of its own, even if a layer is there twice
	if old := t[place]; old != nil && !(old.Type == "dir" && f.Type == "dir") {
		t.remove(place)
	}
	t[place] = &f
	return nil
}

func newFile(h *tar.Header, body io.Reader) (*File, error) {
	f := &File{Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid}
	switch h.Typeflag {
	case tar.TypeReg:
		sum := sha256.New()
		size, err := io.Copy(sum, body)
		if err != nil {
			return nil, err
		}
		f.Type, f.Size, f.SHA256 = "file", size, hex.EncodeToString(sum.Sum(nil))
	case tar.TypeDir:
		f.Type = "dir"
	case tar.TypeSymlink:
		f.Type, f.Link = "symlink", h.Linkname
	case tar.TypeChar, tar.TypeBlock:
		f.Type = map[byte]string{tar.TypeChar: "char", tar.TypeBlock: "block"}[h.Typeflag]
		f.Device = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
	case tar.TypeFifo:
		f.Type = "fifo"
	default:
		return nil, fmt.Errorf("entry of type %q", h.Typeflag)
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			if f.Xattrs == nil {
				f.Xattrs = map[string]string{}
			}
			f.Xattrs[name] = value
		}
	}
	return f, nil
}

// list gives every path its file. Of a file's hard links, which one an archive
// has first is chance, so all name the first in order.
func (t tree) list() []File {
	first := map[*File]string{}
	var files []File
	for _, path := range slices.Sorted(maps.Keys(t)) {
		f := *t[path]
		f.Path = path
		if f.Type == "file" {
			if other, ok := first[t[path]]; ok {
				f.Link = other
			} else {
				first[t[path]] = path
			}
		}
		files = append(files, f)
	}
	return files
}

// Diff says in what way the files got differ from want, one line per entry:
// "-" for what is missing, "+" for what is too much. It is empty when they are
// the same.
func Diff(want, got []File) string {
	wanted, has := lines(want), lines(got)
	paths := maps.Clone(wanted)
	maps.Copy(paths, has)
	var out strings.Builder
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if wanted[path] == has[path] {
			continue
		}
		if line, ok := wanted[path]; ok {
			fmt.Fprintf(&out, "- %s\n", line)
		}
		if line, ok := has[path]; ok {
			fmt.Fprintf(&out, "+ %s\n", line)
		}
	}
	return out.String()
}

func lines(files []File) map[string]string {
	byPath := map[string]string{}
	for _, f := range files {
		byPath[f.Path] = f.String()
	}
	return byPath
}

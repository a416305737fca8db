package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"
)

// outputs are the exports of one solve. Files and new folders are written beside their place and moved
// there at the end, so that a failed build leaves nothing half-written.
type outputs struct {
	entries []client.ExportEntry
	moves   []move
}

type move struct{ from, to string }

func (b *build) openOutputs() (*outputs, error) {
	o := &outputs{}
	req := b.req.Outputs
	if req.Push {
		o.entries = append(o.entries, client.ExportEntry{Type: client.ExporterImage, Attrs: map[string]string{
			"name": strings.Join(req.repositories(), ","), "push": "true", "push-by-digest": "true", "oci-mediatypes": "true",
		}})
	} else if req.Digest && !slices.ContainsFunc(req.Exports, func(e Export) bool { return e.Type.image() }) {
		o.entries = append(o.entries, client.ExportEntry{Type: client.ExporterImage, Attrs: map[string]string{
			"name": joinNames(req), "push": "false", "oci-mediatypes": "true",
		}})
	}
	for _, e := range req.Exports {
		entry := client.ExportEntry{Type: string(e.Type), Attrs: maps.Clone(e.Attrs)}
		if e.Type.image() {
			if entry.Attrs == nil {
				entry.Attrs = map[string]string{}
			}
			if _, set := entry.Attrs["name"]; !set && len(req.Names) > 0 {
				entry.Attrs["name"] = joinNames(req)
			}
		}
		if err := o.open(&entry, e); err != nil {
			o.discard()
			return nil, err
		}
		o.entries = append(o.entries, entry)
	}
	return o, nil
}

func joinNames(req Outputs) string {
	var names []string
	for _, n := range req.Names {
		names = append(names, n.String())
	}
	return strings.Join(names, ",")
}

func (o *outputs) open(entry *client.ExportEntry, e Export) error {
	if e.Type == LocalExport {
		dir, err := o.folder(e.Dest)
		entry.OutputDir = dir
		return err
	}
	w, err := o.create(e.Dest)
	entry.Output = func(map[string]string) (io.WriteCloser, error) { return w, nil }
	return err
}

// folder is where a tree is written: an existing folder is written into, a new one appears at the end.
func (o *outputs) folder(dest string) (string, error) {
	info, err := os.Stat(dest)
	switch {
	case err == nil && !info.IsDir():
		return "", fmt.Errorf("%s is not a folder", dest)
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return dest, err
	}
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dest), ".ibuild-*")
	if err != nil {
		return "", err
	}
	o.moves = append(o.moves, move{tmp, dest})
	return tmp, os.Chmod(tmp, 0o755)
}

// create opens a file that appears at dest at the end. What is not a regular file (a pipe, a device) is
// written into as it is, and a link stays a link.
func (o *outputs) create(dest string) (io.WriteCloser, error) {
	if dest == "-" {
		return os.Stdout, nil
	}
	dest = behindLinks(dest)
	info, err := os.Stat(dest)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a folder; name a file", dest)
	case err == nil && !info.Mode().IsRegular():
		return os.OpenFile(dest, os.O_WRONLY, 0)
	}
	f, err := os.CreateTemp(filepath.Dir(dest), ".ibuild-*")
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", dest, err)
	}
	o.moves = append(o.moves, move{f.Name(), dest})
	return f, f.Chmod(0o644)
}

// behindLinks is the file that a link leads to, which may not be there yet.
func behindLinks(name string) string {
	if to, err := filepath.EvalSymlinks(name); err == nil {
		return to
	}
	if to, err := os.Readlink(name); err == nil {
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(name), to)
		}
		return to
	}
	return name
}

// commit puts everything in its place.
func (o *outputs) commit() error {
	for len(o.moves) > 0 {
		m := o.moves[0]
		if err := os.Rename(m.from, m.to); err != nil {
			return err
		}
		o.moves = o.moves[1:]
	}
	return nil
}

// discard removes what was not committed.
func (o *outputs) discard() {
	for _, m := range o.moves {
		os.RemoveAll(m.from)
	}
}

// WriteFile writes a small file so that readers see all of it or the one before. A link stays a link, and
// what is not a regular file (a pipe, a device) is written into.
func WriteFile(name string, data []byte) error {
	o := &outputs{}
	defer o.discard()
	w, err := o.create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	return o.commit()
}

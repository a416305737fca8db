package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ibuild/ibuild/cache"
	"github.com/moby/buildkit/client"
	"golang.org/x/sys/unix"
)

// outputs are the exports of one solve. Files and folders are written at another place first (see place) and put where
// they belong at the end, so that a failed build leaves nothing half-written.
type outputs struct {
	entries []client.ExportEntry

	mu     sync.Mutex
	places []*place
	full   *FullError // what a file's writer met
}

func (b *build) openOutputs() (*outputs, error) {
	o := &outputs{}
	req := b.req.Outputs
	if req.Push {
		o.entries = append(o.entries, client.ExportEntry{Type: client.ExporterImage, Attrs: map[string]string{
			"name": strings.Join(req.repositories(), ","), "push": "true", "push-by-digest": "true", "oci-mediatypes": "true",
		}})
		o.entries[0].Attrs = req.compressed(o.entries[0].Attrs, b.codec)
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
			entry.Attrs = req.compressed(entry.Attrs, b.codec)
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
		p, err := newFolderPlace(e.Dest)
		if err != nil {
			return err
		}
		o.add(p)
		entry.OutputDir = p.temp
		return nil
	}
	// Not before the image is there: a file beside the destination may be in a folder that the builder is sent.
	entry.Output = func(map[string]string) (io.WriteCloser, error) { return o.create(e.Dest) }
	return canCreate(e.Dest)
}

func (o *outputs) add(p *place) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.places = append(o.places, p)
}

// canCreate finds out before the build what create would refuse.
func canCreate(dest string) error {
	if dest == "-" {
		return nil
	}
	dest = behindLinks(dest)
	info, err := os.Stat(dest)
	if err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder; name a file", dest)
	}
	written := filepath.Dir(dest)
	if err == nil && !info.Mode().IsRegular() {
		written = dest
	}
	if err := unix.Access(written, unix.W_OK); err != nil {
		return fmt.Errorf("cannot write %s: %w", dest, err)
	}
	return nil
}

// create opens a file that appears at dest at the end. What is not a regular file (a pipe, a device) is
// written into as it is, and a link stays a link.
func (o *outputs) create(dest string) (io.WriteCloser, error) {
	if dest == "-" {
		return os.Stdout, nil
	}
	if err := canCreate(dest); err != nil {
		return nil, err
	}
	target := behindLinks(dest)
	if info, err := os.Stat(target); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(target, os.O_WRONLY, 0)
		return &outputFile{f, dest, o}, err
	}
	p := newPlace(filepath.Dir(target), target)
	o.add(p)
	f, err := os.OpenFile(p.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, o.failed(dest, fmt.Errorf("cannot write %s: %w", dest, err))
	}
	return &outputFile{f, dest, o}, f.Chmod(0o644)
}

// outputFile remembers that its disk is full: BuildKit makes a text of the error.
type outputFile struct {
	*os.File
	dest string
	o    *outputs
}

func (f *outputFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.o.failed(f.dest, err)
}

func (f *outputFile) Close() error { return f.o.failed(f.dest, f.File.Close()) }

// failed turns an error about a full disk into one that says which output has no room on it.
func (o *outputs) failed(dest string, err error) error {
	if !cache.IsFull(err) {
		return err
	}
	full := &FullError{Output: dest, Err: err}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full == nil {
		o.full = full
	}
	return full
}

// why finds the reason for a solve's failure that BuildKit may have lost on the way: the disk of an output is full.
func (o *outputs) why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full != nil {
		return o.full
	}
	// What a tree's receiver says is told to the builder beside the end of its stream, and either may be first.
	lost := func(text string) bool { return strings.Contains(err.Error(), text) }
	if !slices.ContainsFunc([]string{io.EOF.Error(), context.Canceled.Error(), unix.ENOSPC.Error(), unix.EDQUOT.Error()}, lost) {
		return err
	}
	for _, p := range o.places {
		if !p.folder {
			continue
		}
		if full := p.probe(); full != nil {
			return &FullError{Output: p.dest, Err: full}
		}
	}
	return err
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

// commit puts everything where it belongs.
func (o *outputs) commit() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.places) > 0 {
		p := o.places[0]
		if err := p.put(); err != nil {
			if cache.IsFull(err) {
				err = &FullError{Output: p.dest, Err: err}
			}
			return err
		}
		p.close()
		o.places = o.places[1:]
	}
	return nil
}

// discard removes what was not committed.
func (o *outputs) discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.places {
		p.close()
	}
	o.places = nil
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

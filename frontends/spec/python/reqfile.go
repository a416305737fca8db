package python

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
)

// Limits of a tree of requirements files.
const (
	maxFiles     = 100
	maxTreeBytes = 8 << 20
	maxFindings  = 200 // more help nobody, and each one costs a look at the whole file
)

// File is one file of a tree of requirements files.
type File struct {
	Path string // relative to the tree's root, slash-separated
	Data []byte // as it is on disk
	// Constraint says that the file is named by -c, or by a file that is: its lines install nothing.
	Constraint bool
}

// Tree reads requirements files together with the files that they name by -r and -c.
type Tree struct {
	// FS is the folder that no file may leave; [os.Root.FS] keeps links inside as well.
	FS fs.FS
	// Show turns a path in FS into the one that messages use; nil leaves it.
	Show func(path string) string
}

// reading is the state of one [Tree.ReadAll].
type reading struct {
	Tree
	files   []File
	pending []pending
	seen    map[string]bool
	bytes   int
	errs    source.Errors

	constraint bool // the file that is read is one
}

// Read is [Tree.ReadAll] for callers that cannot ship local packages: each one is a finding.
func (t Tree) Read(name string) ([]File, error) {
	r := t.read(name)
	for _, p := range r.pending {
		r.errs = append(r.errs, p.fail(p.text, localHint))
	}
	return r.files, r.finish()
}

func (t Tree) newReading() *reading {
	r := &reading{Tree: t, seen: map[string]bool{}}
	if r.Show == nil {
		r.Show = func(path string) string { return path }
	}
	return r
}

func (t Tree) read(name string) *reading {
	r := t.newReading()
	r.add(name, func(msg, hint string) {
		r.errs = append(r.errs, &source.Error{Msg: msg, Hint: hint})
	})
	return r
}

func (r *reading) finish() error {
	credential.MaskErrors(r.errs)
	return r.errs.Err()
}

// add reads one file and everything below it; complain reports that the file cannot be had.
func (r *reading) add(name string, complain func(msg, hint string)) {
	if r.seen[name] {
		return
	}
	r.seen[name] = true
	data, err := r.ReadFile(name, source.SpecLimit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		complain(fmt.Sprintf("there is no requirements file %q", r.Show(name)), "")
		return
	case err != nil:
		complain(fmt.Sprintf("the requirements file %q cannot be read: %v", r.Show(name), cause(err)), "")
		return
	}
	r.bytes += len(data)
	if len(r.files) == maxFiles || r.bytes > maxTreeBytes {
		complain(fmt.Sprintf("more than %d requirements files or %d MiB belong together", maxFiles, maxTreeBytes>>20), "")
		return
	}
	r.addText(name, data)
}

// addText takes the text of one file.
func (r *reading) addText(name string, data []byte) {
	r.files = append(r.files, File{Path: name, Data: data, Constraint: r.constraint})
	src, err := source.New(r.Show(name), "", data)
	if err != nil {
		r.errs.Collect(err)
		return
	}
	for _, l := range logicalLines(src.Data) {
		r.line(name, src, l)
	}
}

// ReadFile reads one regular file of the tree, at most limit bytes of it.
func (t Tree) ReadFile(name string, limit int64) ([]byte, error) {
	return source.ReadFile(t.FS, name, limit)
}

// logicalLine is a line with its continuations and without its comment.
type logicalLine struct {
	text   string
	offset int // of text in the file
}

// logicalLines splits a requirements file. Continuations become spaces of the same length, so that
// offsets stay what they are.
func logicalLines(data []byte) []logicalLine {
	data = bytes.ReplaceAll(data, []byte("\\\r\n"), []byte("   "))
	data = bytes.ReplaceAll(data, []byte("\\\n"), []byte("  "))
	var lines []logicalLine
	offset := 0
	for _, raw := range strings.SplitAfter(string(data), "\n") {
		text := raw
		if strings.HasPrefix(strings.TrimLeft(text, " \t"), "#") {
			text = ""
		} else if i := strings.Index(text, " #"); i >= 0 {
			text = text[:i]
		} else if i := strings.Index(text, "\t#"); i >= 0 {
			text = text[:i]
		}
		trimmed := strings.TrimLeft(text, " \t\r\n")
		if at := offset + len(text) - len(trimmed); trimmed != "" {
			lines = append(lines, logicalLine{strings.TrimRight(trimmed, " \t\r\n"), at})
		}
		offset += len(raw)
	}
	return lines
}

// join is where a path in the named file leads, and whether that is inside the tree.
func join(file, ref string) (string, bool) {
	if path.IsAbs(ref) || strings.Contains(ref, `\`) {
		return "", false
	}
	p := path.Join(path.Dir(file), ref)
	return p, fs.ValidPath(p)
}

func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if strings.Contains(err.Error(), "escapes") { // os.Root has no error of its own for it
		return errors.New("it is a link that leaves the folder")
	}
	return err
}

package project

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/util/suggest"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// Limits of what is read and said for one project.
const (
	maxBytes    = 64 << 20
	lockLimit   = 16 << 20 // the largest locks of real projects have a third of it
	maxFindings = 200      // more help nobody, and each one costs a look at the whole file
)

// reader is the state that all readers share.
type reader struct {
	python.Tree
	files []python.File
	errs  source.Errors
	bytes int
}

func newReader(t python.Tree) *reader {
	if t.Show == nil {
		t.Show = func(path string) string { return path }
	}
	return &reader{Tree: t}
}

// finish is what a reader returns: its findings with passwords masked.
func (r *reader) finish() error {
	credential.MaskErrors(r.errs)
	return r.errs.Err()
}

// ask is a finding about what the caller asked for; the caller knows the place.
func (r *reader) ask(msg, hint string) {
	if len(r.errs) >= maxFindings {
		return
	}
	r.errs = append(r.errs, &source.Error{Msg: msg, Hint: hint})
}

// document is one text file of a project.
type document struct {
	path string // in the tree
	src  source.Source
	at   map[string]int // byte offsets of values, by key
	r    *reader
}

// open reads a file of at most limit bytes; what says which it is. There is no document when it cannot
// be had, and a finding says why.
func (r *reader) open(name, what string, limit int64) *document {
	data, err := r.ReadFile(name, limit)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			r.ask(fmt.Sprintf("there is no %s %q", what, r.Show(name)), "")
		} else {
			r.ask(fmt.Sprintf("the %s %q cannot be read: %v", what, r.Show(name), cause(err)), "")
		}
		return nil
	}
	if r.bytes += len(data); r.bytes > maxBytes {
		r.ask(fmt.Sprintf("the files of the project are larger than %d MiB together", maxBytes>>20), "")
		return nil
	}
	src, err := source.New(r.Show(name), "", data)
	if err != nil {
		r.errs.Collect(err)
		return nil
	}
	r.files = append(r.files, python.File{Path: name, Data: data})
	return &document{path: name, src: src, r: r}
}

func (r *reader) exists(name string) bool {
	info, err := fs.Stat(r.FS, name)
	return err == nil && info.Mode().IsRegular()
}

// decode fills v from TOML; false and a finding when it does not fit.
func (d *document) decode(v any) bool {
	err := python.CheckTOML(d.src.Data)
	if err == nil {
		err = toml.Unmarshal(d.src.Data, v)
	}
	if err == nil {
		return true
	}
	msg := strings.TrimPrefix(err.Error(), "toml: ")
	line, column := 0, 0
	var de *toml.DecodeError
	if errors.As(err, &de) {
		line, column = de.Position()
		msg = strings.TrimPrefix(de.Error(), "toml: ")
		if strings.HasPrefix(msg, "cannot decode") { // goes on with names of this program
			msg = strings.Join(de.Key(), ".") + " has a value of the wrong type"
		}
	}
	d.failAt(line, column, fmt.Sprintf("this is not a valid %s: %s", path.Base(d.path), msg), "")
	return false
}

func (d *document) failAt(line, column int, msg, hint string) {
	if len(d.r.errs) >= maxFindings {
		return
	}
	d.r.errs = append(d.r.errs, &source.Error{File: d.src.Name, Line: line, Column: column, Msg: msg, Hint: hint, Data: d.src.Data})
}

// fail is a finding at a key of a TOML file, or at the nearest thing around it. Elements of lists have
// their number as key.
func (d *document) fail(msg, hint string, key ...string) {
	if len(d.r.errs) >= maxFindings {
		return
	}
	if d.at == nil {
		d.at = positions(d.src.Data)
	}
	for ; len(key) > 0; key = key[:len(key)-1] {
		if offset, ok := d.at[joinKey(key)]; ok {
			line, column := d.src.Position(offset)
			d.failAt(line, column, msg, hint)
			return
		}
	}
	d.failAt(0, 0, msg, hint)
}

// passwords reports lines with a password in a URL; comments count, they are shipped as well.
func (d *document) passwords() {
	if !credential.InURL(string(d.src.Data)) {
		return
	}
	for i, line := range bytes.Split(d.src.Data, []byte("\n")) {
		if credential.InURL(string(line)) {
			d.failAt(i+1, 1, "a URL has a password in it, which would end up in the image's cache and history",
				"take it out, run the lock again, and give the password as a secret")
		}
	}
}

func joinKey(key []string) string { return strings.Join(key, "\x00") }

// positions is where the keys and listed values of a TOML text are. The text has been decoded before.
func positions(data []byte) map[string]int {
	w := walker{at: map[string]int{}}
	var p unstable.Parser
	p.Reset(data)
	var table []string
	count := map[string]int{}
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			table = w.key(nil, e.Key())
		case unstable.ArrayTable:
			table = w.key(nil, e.Key())
			name := joinKey(table)
			table = append(table, strconv.Itoa(count[name]))
			w.at[joinKey(table)] = firstOffset(e.Key())
			count[name]++
		case unstable.KeyValue:
			w.value(w.key(table, e.Key()), e.Value())
		}
	}
	return w.at
}

func firstOffset(it unstable.Iterator) int {
	it.Next()
	return int(it.Node().Raw.Offset)
}

type walker struct{ at map[string]int }

func (w walker) key(prefix []string, it unstable.Iterator) []string {
	key := slices.Clone(prefix)
	for it.Next() {
		key = append(key, string(it.Node().Data))
		if _, ok := w.at[joinKey(key)]; !ok {
			w.at[joinKey(key)] = int(it.Node().Raw.Offset)
		}
	}
	return key
}

func (w walker) value(key []string, v *unstable.Node) {
	switch v.Kind {
	case unstable.Array:
		it := v.Children()
		for n := 0; it.Next(); n++ {
			w.value(append(slices.Clone(key), strconv.Itoa(n)), it.Node())
		}
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				w.value(w.key(key, it.Node().Key()), it.Node().Value())
			}
		}
	case unstable.String:
		w.at[joinKey(key)] = int(v.Raw.Offset)
	}
}

// known reports each wanted name that does not exist. Names are compared in their normal form.
func (r *reader) known(what, of string, wanted, have []string) {
	for _, w := range wanted {
		if slices.ContainsFunc(have, func(h string) bool { return python.NormalName(h) == python.NormalName(w) }) {
			continue
		}
		hint := of + " has none"
		if s, ok := suggest.Search(w, have, false); ok {
			hint = fmt.Sprintf("did you mean %q?", s)
		} else if len(have) > 0 {
			hint = of + " has " + strings.Join(have, ", ")
		}
		r.ask(fmt.Sprintf("there is no %s %q", what, w), hint)
	}
}

// cause is an error without its path, which the message has already.
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

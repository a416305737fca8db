package notebook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
)

// Limit is how many bytes of a notebook are read: pictures in its outputs make it large. The script in it
// has the limit of all scripts, source.ScriptLimit.
const Limit = 256 << 20

// Limits inside of a notebook. The tags are what is read of a cell beside its source.
const (
	cellLimit = 50_000   // cells of all kinds
	tagLimit  = 64 << 10 // bytes of one cell's tags
)

// document is what is read of a notebook's JSON.
type document struct {
	format   int // nbformat, 0 when it is missing
	language string
	cells    []rawCell // the code cells that count
	size     int       // bytes of their text
}

// rawCell is a code cell as it is in the file.
type rawCell struct {
	number int // from 1, among cells of all kinds
	text   string
}

// metadata is what is read of the notebook's own metadata.
type metadata struct {
	Kernelspec struct {
		Language string `json:"language"`
	} `json:"kernelspec"`
	LanguageInfo struct {
		Name string `json:"name"`
	} `json:"language_info"`
}

// jsonCell is a cell without its outputs: the decoder goes past what is not named here.
type jsonCell struct {
	CellType string          `json:"cell_type"`
	Source   json.RawMessage `json:"source"`
	Metadata struct {
		Tags   json.RawMessage `json:"tags"`
		VSCode struct {
			LanguageID string `json:"languageId"`
		} `json:"vscode"`
	} `json:"metadata"`
}

// Read makes a script of a notebook. The error is source.Errors with all findings, those in cells as
// [Notebook.Rewrite] gives them.
func Read(src source.Source) (Notebook, error) {
	doc, err := decode(src)
	if err != nil {
		return Notebook{}, err
	}
	return translate(&translator{name: src.Name, bound: map[string]bool{}}, doc)
}

// decode reads the JSON. It goes from value to value, so of a cell's outputs nothing is kept.
func decode(src source.Source) (document, error) {
	d := document{}
	r := &reader{name: src.Name, dec: json.NewDecoder(bytes.NewReader(src.Data)), doc: &d}
	if err := r.object(); err != nil {
		return document{}, r.finding(err, src)
	}
	switch {
	case d.format == 0:
		return d, fail(src.Name, `this is not a notebook: it has no "nbformat"`, "")
	case d.format < 4:
		return d, fail(src.Name, fmt.Sprintf("the notebook has the old format %d", d.format),
			"convert it: jupyter nbconvert --to notebook --nbformat 4 --inplace "+src.Base())
	case d.format > 4:
		return d, fail(src.Name, fmt.Sprintf("the notebook has format %d, which is not known", d.format), "save it as format 4")
	case !python(d.language):
		return d, fail(src.Name, fmt.Sprintf("the notebook is written in %s", d.language), "only Python notebooks can be built")
	}
	return d, nil
}

// python says whether a kernel's language is Python; without metadata it is.
func python(language string) bool {
	l := strings.ToLower(language)
	return l == "" || strings.HasPrefix(l, "python") || l == "ipython"
}

// reader goes through the JSON of a notebook.
type reader struct {
	name string
	dec  *json.Decoder
	doc  *document
	cell int // number of the cell being read, 0 outside of cells
}

// object reads the outermost object.
func (r *reader) object() error {
	if t, err := r.dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("this is not a notebook: it is not a JSON object")
	}
	for r.dec.More() {
		key, err := r.dec.Token()
		if err != nil {
			return err
		}
		switch key {
		case "nbformat":
			err = r.dec.Decode(&r.doc.format)
		case "metadata":
			var m metadata
			err = r.dec.Decode(&m)
			r.doc.language = m.Kernelspec.Language
			if r.doc.language == "" {
				r.doc.language = m.LanguageInfo.Name
			}
		case "cells":
			err = r.cells()
		default:
			err = r.dec.Decode(&skipped{})
		}
		if err != nil {
			return err
		}
	}
	if _, err := r.dec.Token(); err != nil {
		return err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows after the notebook")
	}
	return nil
}

// skipped is a value that is not wanted.
type skipped struct{}

// UnmarshalJSON takes any value.
func (*skipped) UnmarshalJSON([]byte) error { return nil }

func (r *reader) cells() error {
	if t, err := r.dec.Token(); err != nil || t != json.Delim('[') {
		return errors.New(`"cells" must be a list`)
	}
	r.doc.cells, r.doc.size = nil, 0
	for r.cell = 1; r.dec.More(); r.cell++ {
		if r.cell > cellLimit {
			return fmt.Errorf("more than %d cells", cellLimit)
		}
		if err := r.oneCell(); err != nil {
			return err
		}
	}
	r.cell = 0
	_, err := r.dec.Token()
	return err
}

func (r *reader) oneCell() error {
	var c jsonCell
	if err := r.dec.Decode(&c); err != nil {
		return err
	}
	if c.CellType != "code" {
		return nil
	}
	if l := c.Metadata.VSCode.LanguageID; !python(l) {
		return fmt.Errorf("the cell is written in %s; only Python cells can be built: give the cell the tag %s", l, skipTag)
	}
	tags, err := readTags(c.Metadata.Tags)
	if err != nil {
		return err
	}
	if slices.Contains(tags, skipTag) || slices.Contains(tags, "ibuild-skip") {
		return nil
	}
	text, err := readText(c.Source, source.ScriptLimit-r.doc.size)
	if err != nil {
		return err
	}
	r.doc.size += len(text)
	r.doc.cells = append(r.doc.cells, rawCell{number: r.cell, text: text})
	return nil
}

// skipTag is the tag of a cell that is not part of the script.
const skipTag = "skip-build"

func readTags(raw json.RawMessage) ([]string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var tags []string
	if len(raw) > tagLimit || json.Unmarshal(raw, &tags) != nil {
		return nil, errors.New(`the cell's "tags" must be a list of texts`)
	}
	return tags, nil
}

// readText reads a source: one text, or a list of texts that belong together. Line ends become LF.
func readText(raw json.RawMessage, limit int) (string, error) {
	wrong := errors.New(`the cell's "source" must be a text or a list of texts`)
	dec := json.NewDecoder(bytes.NewReader(raw))
	var b strings.Builder
	list := false
	for {
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		s, text := t.(string)
		switch {
		case err != nil:
			return "", wrong
		case text && b.Len()+len(s) > limit:
			return "", fmt.Errorf("the notebook's code is larger than the limit of %d MiB", source.ScriptLimit>>20)
		case text:
			b.WriteString(s)
		case t == json.Delim('[') && !list:
			list = true
		case t != json.Delim(']'):
			return "", wrong
		}
	}
	if len(raw) == 0 {
		return "", wrong
	}
	return strings.ReplaceAll(strings.ReplaceAll(b.String(), "\r\n", "\n"), "\r", "\n"), nil
}

// finding gives an error of the JSON its place.
func (r *reader) finding(err error, src source.Source) error {
	e := &source.Error{File: r.name, Msg: err.Error(), Err: err}
	if r.cell > 0 {
		e.File = cellName(r.name, r.cell)
	}
	// The decoder's own offsets count from the value that it was reading.
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(json.Unmarshal(src.Data, &skipped{}), &syntax):
		// Lines of a notebook can have the size of a picture, so they are not shown.
		e.File, e.Err = r.name, syntax
		e.Line, e.Column = src.Position(int(syntax.Offset) - 1)
		e.Msg, e.Hint = "the notebook is not valid JSON: "+syntax.Error(), "open it in Jupyter and save it again"
	case errors.As(err, &kind):
		e.Msg = fmt.Sprintf("%q must not be a JSON %s", kind.Field, kind.Value)
		if kind.Field == "" {
			e.Msg = "the value must not be a JSON " + kind.Value
		}
	}
	return source.Errors{e}
}

func fail(file, msg, hint string) error {
	return source.Errors{{File: file, Msg: msg, Hint: hint}}
}

// cellName is the file name of findings in a cell.
func cellName(file string, number int) string { return fmt.Sprintf("%s (cell %d)", file, number) }

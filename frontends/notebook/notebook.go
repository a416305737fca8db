package notebook

import (
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
)

// Notebook is a notebook as a script. It is a value; nobody changes it.
type Notebook struct {
	// Script is Python text that begins with a PEP 723 header: the same bytes whatever the notebook's
	// outputs and execution counts are.
	Script []byte
	// HasHeader says that the notebook has the header itself. Else it was made of pip lines.
	HasHeader bool

	name   string // of the notebook's file
	places []place
	texts  map[int]string // of cells, by number
}

// place is where a line of the script comes from.
type place struct {
	cell, line int
	shift      int // added to columns: the cell's indentation
	column     int // of everything in a line that ibuild wrote; 0 when the line is the cell's own
}

// Place says which line of which cell a line of the script stems from; all count from 1. Lines that ibuild
// added belong to the line that they are made of, or to the cell that begins there. Lines beyond the
// script count as its first or last one; a notebook without a script has none, and gives zeros.
func (n Notebook) Place(line int) (cell, cellLine int) {
	p := n.place(line)
	return p.cell, p.line
}

func (n Notebook) place(line int) place {
	if len(n.places) == 0 {
		return place{}
	}
	return n.places[min(max(line, 1), len(n.places))-1]
}

// Rewrite gives findings in the script their places in the notebook: "nb.ipynb (cell 3)", with the line
// and column in the cell and the cell's text. Findings with a line whose file is the notebook's own name are
// findings in the script; others stay as they are. nil stays nil, anything else becomes source.Errors.
func (n Notebook) Rewrite(err error) error {
	var all source.Errors
	all.Collect(err)
	out := make(source.Errors, 0, len(all))
	for _, e := range all {
		if e.File != n.name || e.Line == 0 || len(n.places) == 0 {
			out = append(out, e)
			continue
		}
		p := n.place(e.Line)
		moved := *e
		moved.File, moved.Line, moved.Data = cellName(n.name, p.cell), p.line, []byte(n.texts[p.cell])
		switch {
		case p.column > 0:
			moved.Column = p.column
		case e.Column > 0:
			moved.Column += p.shift
		}
		out = append(out, &moved)
	}
	credential.MaskErrors(out)
	return out.Err()
}

// scriptLine is a line of the script that is being made.
type scriptLine struct {
	text string
	at   place
}

// translate makes the script of a notebook's code cells.
func translate(t *translator, doc document) (Notebook, error) {
	name := t.name
	cells := slices.DeleteFunc(doc.cells, func(c rawCell) bool { return strings.TrimSpace(c.text) == "" })
	if len(cells) == 0 {
		return Notebook{}, fail(name, "the notebook has no code", "")
	}
	for i, c := range cells {
		t.cell(newCell(name, c), i == 0)
	}
	t.settle(newCell(name, cells[0]))
	credential.MaskErrors(t.errs)
	if err := t.errs.Err(); err != nil {
		return Notebook{}, err
	}
	n := Notebook{HasHeader: t.hasHeader, name: name, texts: map[int]string{}}
	for _, c := range cells {
		n.texts[c.number] = c.text
	}
	var script strings.Builder
	for _, l := range t.script() {
		script.WriteString(l.text + "\n")
		n.places = append(n.places, l.at)
	}
	if script.Len() > source.ScriptLimit {
		return Notebook{}, fail(name, "the notebook's script is larger than the limit of 16 MiB", "")
	}
	n.Script = []byte(script.String())
	return n, nil
}

package gke

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
)

// AcceleratorError says why a text names no accelerator that there is, or not one alone.
type AcceleratorError struct {
	Text string // what was asked for, as it was written
	Msg  string
	Hint string // what can be asked for, the nearest first
}

// Error quotes the text: it may hold characters that a terminal acts upon.
func (e *AcceleratorError) Error() string { return fmt.Sprintf("accelerator %q: %s", e.Text, e.Msg) }

func (e *AcceleratorError) hint(text string) *AcceleratorError {
	e.Hint = text
	return e
}

func (w *wish) errorf(format string, args ...any) *AcceleratorError {
	return &AcceleratorError{Text: w.text, Msg: fmt.Sprintf(format, args...)}
}

// allNames is the end of hints.
const allNames = "ibuild accelerators lists all there are"

// entries is the catalogue and the three words for a kind.
func entries() []Entry {
	list := Catalogue()
	whichever := Entry{Kind: GPU, Name: string(GPU), Arch: "amd64"}
	for _, e := range list {
		for _, o := range e.Options {
			if _, have := withChips(whichever.Options, o.Chips); e.Kind == GPU && e.Arch == whichever.Arch && !have {
				whichever.Options = append(whichever.Options, Option{Chips: o.Chips, Hosts: 1})
			}
		}
	}
	slices.SortFunc(whichever.Options, func(a, b Option) int { return a.Chips - b.Chips })
	return append(list, Entry{Kind: CPU, Name: string(CPU)}, whichever, Entry{Kind: TPU, Name: string(TPU)})
}

// findEntry is the entry of a name, an alias or a label, with the kind in front or not;
// one without a name when there is none.
func findEntry(list []Entry, name string) Entry {
	for _, e := range list {
		if name == e.Name || slices.Contains(e.Aliases, name) || name == e.Label && name != "" {
			return e
		}
	}
	for _, kind := range []Kind{GPU, TPU} {
		short, ok := strings.CutPrefix(name, string(kind)+"-")
		if !ok {
			continue
		}
		if e := findEntry(list, short); e.Kind == kind && !e.isKind() {
			return e
		}
	}
	return Entry{}
}

// splitName takes a name and what may stand right behind it apart: "a100x4",
// "v5e-16", "v5p-2x2x1".
func splitName(list []Entry, text string) (e Entry, quantity string, ok bool) {
	if e = findEntry(list, text); e.Name != "" {
		return e, "", true
	}
	for i := range len(text) {
		if (text[i] != 'x' && text[i] != '-') || !isQuantity(text[i+1:]) {
			continue
		}
		if e = findEntry(list, text[:i]); e.Name != "" {
			return e, text[i+1:], true
		}
	}
	return Entry{}, "", false
}

// nearestNames is how many names an error spells out.
const nearestNames = 5

// unknownName lists the names that are nearest, with the size that was asked for
// where they have it.
func unknownName(w *wish, list []Entry, name string) error {
	quantity := ""
	for i := range len(name) {
		if (name[i] == 'x' || name[i] == '-') && isQuantity(name[i+1:]) {
			name, quantity = name[:i], name[i+1:]
			break
		}
	}
	if name == "" {
		return w.errorf("the name is missing").hint("write cpu, a GPU such as l4 or a100x4, or a TPU such as v5e-4; " + allNames)
	}
	type near struct {
		entry    Entry
		distance int
	}
	var names []near
	for _, e := range list {
		if e.isKind() {
			continue
		}
		n := near{e, levenshtein.Distance(name, e.Name, nil)}
		for _, other := range append([]string{e.Label}, e.Aliases...) {
			n.distance = min(n.distance, levenshtein.Distance(name, other, nil))
		}
		names = append(names, n)
	}
	slices.SortStableFunc(names, func(a, b near) int { return cmp.Compare(a.distance, b.distance) })
	var said []string
	for _, n := range names[:nearestNames] {
		said = append(said, n.entry.inSize(quantity))
	}
	return w.errorf("there is no accelerator of the name %q", name).hint("the nearest are " + strings.Join(said, ", ") + "; " + allNames)
}

// inSize is the entry as one would ask for it, in this size if it has it.
func (e Entry) inSize(quantity string) string {
	o := e.Smallest()
	for _, have := range e.Options {
		if have.Topology == quantity || strconv.Itoa(have.Chips) == quantity {
			o = have
			break
		}
	}
	return fmt.Sprintf("%s:%s (%s)", e.Name, o.Size(), o.describe(e.Kind))
}

// Size is how the option is asked for behind a name and a colon.
func (o Option) Size() string { return cmp.Or(o.Topology, strconv.Itoa(o.Chips)) }

// describe is what one gets.
func (o Option) describe(kind Kind) string {
	if kind == GPU {
		return counted(o.Chips, "GPU")
	}
	return counted(o.Chips, "chip") + ", " + counted(o.Hosts, "host")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func (e Entry) unit(n int) string {
	what := "chip"
	if e.Kind == GPU {
		what = "GPU"
	}
	return strings.TrimPrefix(counted(n, what), strconv.Itoa(n)+" ")
}

// nearestSizes is how many sizes an error spells out.
const nearestSizes = 6

// sizes lists what the entry can be had in: those next to a number of chips first,
// and the smallest first for 0.
func (e Entry) sizes(near int) string {
	list := slices.Clone(e.Options)
	slices.SortStableFunc(list, func(a, b Option) int {
		return cmp.Compare(max(a.Chips-near, near-a.Chips), max(b.Chips-near, near-b.Chips))
	})
	var said []string
	for _, o := range list {
		text := e.Name + ":" + o.Size()
		if slices.ContainsFunc(list, func(other Option) bool {
			return other.Topology == o.Topology && other.Chips == o.Chips && other.Hosts < o.Hosts
		}) {
			text += ":" + o.Machines[0]
		}
		if e.Kind == TPU {
			text += " (" + o.describe(TPU) + ")"
		}
		said = append(said, text)
	}
	text := strings.Join(said[:min(len(said), nearestSizes)], ", ")
	if len(said) > nearestSizes {
		return "the nearest are " + text + "; " + allNames
	}
	return "there are " + text
}

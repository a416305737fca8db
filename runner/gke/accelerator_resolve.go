package gke

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxText bounds the name of an accelerator, in bytes.
const maxText = 200

// defaultTPU is what "tpu" alone means: the kind that most projects have quota for.
const defaultTPU = "v5e"

// Resolve makes an accelerator of what a person writes, in any case:
//
//	cpu, gpu, tpu, gpu:4               any GPU, the usual TPU
//	l4, a100x4, a100:4, a100-4         a name and a number of devices
//	v5e-16, v5p:2x2x1                  a name and a topology, or the number of its chips
//	gpu:a100-80gb:2, tpu-v6e-8         with the kind in front
//	nvidia-l4, tpu-v5-lite-podslice:8  GKE's own labels
//	v5e:2x4:ct5lp-hightpu-4t           on one machine type alone
//	l4:spot                            on spot machines
//
// The number of a v3, v4, v5p, 7x or 7 is read as chips, while Google's names of
// Cloud TPUs (v5p-8) count TensorCores, two per chip: where both would be a slice,
// Note says how it was read, and strict refuses it. The error is an [*AcceleratorError].
func Resolve(text string, strict bool) (Accelerator, error) {
	w, err := readWish(text)
	if err != nil {
		return Accelerator{}, err
	}
	if w.entry.Kind == CPU {
		return Accelerator{Kind: CPU, Name: "cpu", Hosts: 1, Arch: "amd64", Spot: w.spot}, nil
	}
	o, note, err := w.choose(strict)
	if err != nil {
		return Accelerator{}, err
	}
	a := Accelerator{Kind: w.entry.Kind, Name: w.entry.Name, Label: w.entry.Label, Topology: o.Topology, Chips: o.Chips, Hosts: o.Hosts,
		PerHost: o.PerHost(), Arch: w.entry.Arch, Machines: o.Machines, Machine: w.machine, Spot: w.spot, Note: note}
	if w.machine != "" {
		a.Machines = []string{w.machine}
	}
	return a, nil
}

// String is the shortest text that Resolve reads as the same accelerator without a doubt.
func (a Accelerator) String() string {
	text := a.Name
	switch a.Kind {
	case GPU:
		text += ":" + strconv.Itoa(a.Chips)
	case TPU:
		text += ":" + a.Topology
	}
	if a.Machine != "" {
		text += ":" + a.Machine
	}
	if a.Spot {
		text += ":spot"
	}
	return text
}

// wish is a text taken apart.
type wish struct {
	text     string // as it came
	entry    Entry
	general  bool // the entry is what "tpu" alone stands for
	count    int  // 0 when none is given
	topology string
	machine  string
	spot     bool
}

func readWish(text string) (*wish, error) {
	w := &wish{text: text}
	if len(text) > maxText {
		return nil, &AcceleratorError{Text: text[:maxText], Msg: "is too long for the name of an accelerator", Hint: allNames}
	}
	rest, spot := strings.CutSuffix(strings.ToLower(strings.TrimSpace(text)), ":spot")
	w.spot = spot
	parts := strings.Split(rest, ":")
	list := entries()
	entry, quantity, ok := splitName(list, parts[0])
	if !ok {
		return nil, unknownName(w, list, parts[0])
	}
	parts = parts[1:]
	if entry.isKind() && quantity == "" && len(parts) > 0 {
		if e, q, ok := splitName(list, parts[0]); ok && !e.isKind() {
			if e.Kind != entry.Kind {
				return nil, w.errorf("%s is a %s", e.Name, strings.ToUpper(string(e.Kind))).hint("write " + strings.Join(parts, ":"))
			}
			entry, quantity, parts = e, q, parts[1:]
		} else if !isQuantity(parts[0]) && entry.machines(parts[0]) == nil {
			return nil, unknownName(w, list, parts[0])
		}
	}
	if quantity != "" {
		parts = append([]string{quantity}, parts...)
	}
	w.entry = entry
	if entry.isKind() && entry.Kind == TPU {
		w.entry, w.general = findEntry(list, defaultTPU), true
	}
	return w, w.readParts(parts)
}

// readParts reads what stands after the name.
func (w *wish) readParts(parts []string) error {
	if w.entry.Kind == CPU && len(parts) > 0 {
		return w.errorf("a cpu has no number of devices").hint("write cpu, and how many processors the job needs with --cpu")
	}
	for _, part := range parts {
		switch {
		case isQuantity(part) && w.count == 0 && w.topology == "":
			if err := w.readQuantity(part); err != nil {
				return err
			}
		case w.machine == "" && w.entry.machines(part) != nil:
			w.machine = part
		default:
			return w.errorf("%q is neither a number, a topology nor a machine type of %s", part, w.entry.Name).hint(w.entry.sizes(0))
		}
	}
	return nil
}

func (w *wish) readQuantity(text string) error {
	if isTopology(text) {
		if w.entry.Kind != TPU {
			return w.errorf("%s has no topology, only TPUs have", w.entry.Name).hint(w.entry.sizes(0))
		}
		w.topology = text
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n == 0 {
		return w.errorf("%s is no number of devices", text).hint(w.entry.sizes(0))
	}
	w.count = n
	return nil
}

// choose finds the size that is meant, and says what is not plain about it.
func (w *wish) choose(strict bool) (Option, string, error) {
	options := w.entry.Options
	if w.machine != "" {
		options = w.entry.machines(w.machine)
	}
	switch {
	case w.topology != "":
		if o, ok := w.entry.withTopology(options, w.topology); ok {
			return o, "", nil
		}
		return Option{}, "", w.errorf("%s", w.noSuch(w.topology)).hint(w.entry.sizes(chipsOf(w.topology)))
	case w.count != 0:
		return w.byNumber(options, strict)
	case w.machine != "":
		return options[0], "", nil
	}
	o := w.entry.Smallest()
	if w.general {
		return o, fmt.Sprintf("tpu without a name is read as %s: %s", w.entry.Name, o.describe(w.entry.Kind)), nil
	}
	if len(options) > 1 && w.entry.Kind == TPU || o.Chips > 1 {
		return o, fmt.Sprintf("%s without a number is read as %s", w.entry.Name, o.describe(w.entry.Kind)), nil
	}
	return o, "", nil
}

// byNumber finds the size of a bare number, and whether it could be another's.
func (w *wish) byNumber(options []Option, strict bool) (Option, string, error) {
	chips, isChips := withChips(options, w.count)
	cores, isCores := Option{}, false
	if w.entry.Cores > 1 && w.count%w.entry.Cores == 0 {
		cores, isCores = withChips(options, w.count/w.entry.Cores)
	}
	name := w.entry.Name
	switch {
	case !isChips && isCores:
		return Option{}, "", w.errorf("%s", w.noSuch(fmt.Sprintf("%d chips", w.count))).
			hint(fmt.Sprintf("if %d are TensorCores, as in the names of Cloud TPUs, write %s:%s (%s)", w.count, name, cores.Topology, cores.describe(TPU)))
	case !isChips:
		return Option{}, "", w.errorf("%s", w.noSuch(fmt.Sprintf("%d %s", w.count, w.entry.unit(w.count)))).hint(w.entry.sizes(w.count))
	case !isCores:
		return chips, "", nil
	case strict:
		return Option{}, "", w.errorf("%d is ambiguous for %s: it may be chips, or TensorCores as in the names of Cloud TPUs", w.count, name).
			hint(fmt.Sprintf("write %s:%s (%s) or %s:%s (%s)", name, chips.Topology, chips.describe(TPU), name, cores.Topology, cores.describe(TPU)))
	}
	return chips, fmt.Sprintf("%d is read as chips: %s:%s, %s; the Cloud TPU that is named by %d TensorCores is %s:%s, %s",
		w.count, name, chips.Topology, chips.describe(TPU), w.count, name, cores.Topology, cores.describe(TPU)), nil
}

func (w *wish) noSuch(what string) string {
	if w.machine != "" {
		return fmt.Sprintf("there is no %s with %s on %s", w.entry.Name, what, w.machine)
	}
	return fmt.Sprintf("there is no %s with %s", w.entry.Name, what)
}

// withChips is the first option with so many chips: of two with as many, the one
// with fewer hosts stands first.
func withChips(options []Option, chips int) (Option, bool) {
	i := slices.IndexFunc(options, func(o Option) bool { return o.Chips == chips })
	if i < 0 {
		return Option{}, false
	}
	return options[i], true
}

func (e Entry) withTopology(options []Option, topology string) (Option, bool) {
	i := slices.IndexFunc(options, func(o Option) bool { return o.Topology == topology })
	if i >= 0 {
		return options[i], true
	}
	o, ok := e.byRule(topology)
	// the machine type was looked up among the options: one of several hosts has all of the rule's
	return o, ok && slices.ContainsFunc(options, func(have Option) bool { return slices.Equal(have.Machines, o.Machines) })
}

// machines is the options that a machine type has, nil when it is none of the entry's.
func (e Entry) machines(kind string) []Option {
	var list []Option
	for _, o := range e.Options {
		if slices.Contains(o.Machines, kind) && !strings.Contains(kind, "*") {
			list = append(list, o)
		}
	}
	return list
}

// isKind says that the entry is one of the three words for a kind, and no accelerator's name.
func (e Entry) isKind() bool { return e.Name == string(e.Kind) }

// isNumber takes what fits an int everywhere.
func isNumber(s string) bool {
	return len(s) > 0 && len(s) <= 9 && strings.Trim(s, "0123456789") == ""
}

// isTopology takes two or three sides, each up to 9999 and written as labels of nodes have it.
func isTopology(s string) bool {
	list := strings.Split(s, "x")
	return len(list) >= 2 && len(list) <= 3 && !slices.ContainsFunc(list, func(side string) bool {
		return !isNumber(side) || len(side) > 4 || side[0] == '0'
	})
}

func isQuantity(s string) bool { return isNumber(s) || isTopology(s) }

package gke

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Entry is one accelerator that Google Kubernetes Engine offers. The figures are
// those of GKE's own autoscaler (its machine types and node labels) of 2026.
type Entry struct {
	Kind    Kind     `json:"kind"`
	Name    string   `json:"name"`  // ibuild's own
	Label   string   `json:"label"` // of the nodes: see [Accelerator.Label]
	Aliases []string `json:"aliases,omitempty"`
	Arch    string   `json:"arch"`
	Memory  int      `json:"memoryGB,omitempty"`           // of one GPU or chip, in GB; 0 where it is not known
	Cores   int      `json:"tensorCoresPerChip,omitempty"` // of a TPU: two make a bare number ambiguous
	Note    string   `json:"note,omitempty"`
	Options []Option `json:"options"` // the smallest first

	cubes   int  // how many cubes of 4x4x4 chips a slice may have, over and above Options; 0 for none
	ordered bool // the sides of such a slice ascend
}

// Option is one size in which an accelerator can be had.
type Option struct {
	Chips    int      `json:"chips"` // of one slice; GPUs of one machine
	Topology string   `json:"topology,omitempty"`
	Hosts    int      `json:"hosts"`
	Machines []string `json:"machines"` // types, which may hold patterns such as "n1-*"
}

// PerHost is how many devices each host has.
func (o Option) PerHost() int { return o.Chips / o.Hosts }

// Catalogue lists all that can be asked for, but for a CPU: GPUs, then TPUs, each
// from the old to the new. The caller may change it.
func Catalogue() []Entry {
	var list []Entry
	for _, g := range gpus() {
		list = append(list, g.entry())
	}
	for _, t := range tpus() {
		list = append(list, t.entry())
	}
	return list
}

// gpu is a row of the table of GPUs.
type gpu struct {
	name, label string
	aliases     []string
	arch        string
	memory      int
	sizes       []size
	note        string
}

// size is a number of GPUs and the machine types that have as many.
type size struct {
	count    int
	machines []string
}

func (g gpu) entry() Entry {
	e := Entry{Kind: GPU, Name: g.name, Label: g.label, Aliases: g.aliases, Arch: cmp.Or(g.arch, "amd64"), Memory: g.memory, Note: g.note}
	for _, s := range g.sizes {
		e.Options = append(e.Options, Option{Chips: s.count, Hosts: 1, Machines: s.machines})
	}
	return e
}

// tpu is a row of the table of TPUs.
type tpu struct {
	name, label string
	aliases     []string
	cores       int       // TensorCores per chip
	memory      int       // of a chip, in GB
	machines    []machine // the last with 4 chips makes up slices of several hosts
	slices      []string  // topologies of several hosts
	cubes       int
	ordered     bool
	note        string
}

// machine is a machine type with TPU chips. Alone it is a slice of the topology;
// without one it is never alone.
type machine struct {
	kind     string
	chips    int
	topology string
}

// hostChips is how many chips each host has in a slice of several, in every generation.
const hostChips = 4

func (t tpu) entry() Entry {
	e := Entry{Kind: TPU, Name: t.name, Label: t.label, Aliases: t.aliases, Arch: "amd64", Memory: t.memory, Cores: t.cores, Note: t.note,
		cubes: t.cubes, ordered: t.ordered}
	var shared []string
	for _, m := range t.machines {
		if m.topology != "" {
			e.Options = append(e.Options, Option{Chips: m.chips, Topology: m.topology, Hosts: 1, Machines: []string{m.kind}})
		}
		if m.chips == hostChips {
			shared = []string{m.kind}
		}
	}
	for _, topology := range t.slices {
		chips := chipsOf(topology)
		e.Options = append(e.Options, Option{Chips: chips, Topology: topology, Hosts: chips / hostChips, Machines: shared})
	}
	slices.SortStableFunc(e.Options, func(a, b Option) int { return cmp.Compare(a.Chips, b.Chips) })
	return e
}

// chipsOf is the number of chips of a topology that was found to be one.
func chipsOf(topology string) int {
	chips := 1
	for _, side := range sides(topology) {
		chips *= side
	}
	return chips
}

func sides(topology string) []int {
	var list []int
	for _, text := range strings.Split(topology, "x") {
		n, _ := strconv.Atoi(text) // isTopology has looked
		list = append(list, n)
	}
	return list
}

// byRule is the option of a topology that is not in the list because there are too
// many of its sort: of whole cubes of 4x4x4 chips, which GKE can put together in
// any number up to the pod's.
func (e Entry) byRule(topology string) (Option, bool) {
	list := sides(topology)
	if e.cubes == 0 || len(list) != 3 || (e.ordered && !slices.IsSorted(list)) {
		return Option{}, false
	}
	cubes := 1
	for _, side := range list {
		if side == 0 || side%4 != 0 {
			return Option{}, false
		}
		cubes *= side / 4
	}
	if cubes > e.cubes {
		return Option{}, false
	}
	last := e.Options[len(e.Options)-1] // of several hosts, as all that have cubes
	return Option{Chips: cubes * 64, Topology: topology, Hosts: cubes * 64 / hostChips, Machines: last.Machines}, true
}

// Rule says which sizes there are over and above Options, empty when there are none.
func (e Entry) Rule() string {
	if e.cubes == 0 {
		return ""
	}
	rule := fmt.Sprintf("any AxBxC of multiples of 4 up to %d times 4x4x4", e.cubes)
	if e.ordered {
		rule += ", the sides ascending"
	}
	return rule
}

// Smallest is the option that stands for a name without a number: the smallest
// there is, but for a TPU four chips where it has them. That is one machine in each
// generation, and what examples of training code are written for.
func (e Entry) Smallest() Option {
	for _, o := range e.Options {
		if e.Kind == TPU && o.Chips == hostChips {
			return o
		}
	}
	return e.Options[0]
}

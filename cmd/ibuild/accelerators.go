package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/ibuild/ibuild/runner/gke"
	"github.com/urfave/cli/v2"
)

func acceleratorsCommand() *cli.Command {
	return &cli.Command{
		Name:      "accelerators",
		Usage:     "list the accelerators that jobs can ask for, or say what a name asks for",
		ArgsUsage: "[NAME...]",
		Description: `Without a NAME all sizes of all GPUs and TPUs of Google Kubernetes Engine are listed, as --accelerator takes them.
With one or more, what each asks a cluster for is shown: devices, hosts, machines, and the labels of the nodes.

   ibuild accelerators
   ibuild accelerators a100x4 v5p:2x2x1
   ibuild accelerators tpu-v6e-16:spot
   ibuild accelerators --strict-accelerator v5p-8
   ibuild accelerators --format json
   ibuild accelerators --live

With --live the cluster is asked which of them it has: its node pools, also empty ones as far as they can be seen, with
the name to ask for. GKE's API is asked for empty pools where the kubeconfig is gcloud's.

A NAME may be written in many ways, in any case: l4, a100x4, gpu:a100-80gb:2, v5litepod-4, tpu:v5p:2x2x1, GKE's own
nvidia-l4:2 and tpu-v6e-slice:2x4, gpu for any GPU, tpu for the usual one; ":spot" at the end asks for spot machines.
A machine type may follow where several have the size: v5e:2x4:ct5lp-hightpu-4t.

The number of a v3, v4, v5p and 7x is taken for chips. Google's names of Cloud TPUs count TensorCores there, which are
two per chip: a note says so, and --strict-accelerator refuses such a number.

Exit codes: 0 listed, 2 there is no such accelerator; with --live 3 credentials or rights, 4 cluster out of reach.`,
		Flags: slices.Concat([]cli.Flag{
			formatFlag(),
			strictFlag(),
			&cli.BoolFlag{Name: "live", Usage: "list what the cluster has"},
		}, clusterFlags()),
		Action: runAccelerators,
	}
}

// strictName is the name of strictFlag.
const strictName = "strict-accelerator"

// strictFlag is for commands that take an accelerator's name.
func strictFlag() cli.Flag {
	return &cli.BoolFlag{Name: strictName, Usage: "refuse numbers of TPUs that may be chips or TensorCores", EnvVars: []string{"IBUILD_STRICT_ACCELERATOR"}}
}

func runAccelerators(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	if c.Bool("live") {
		return runLive(c, format)
	}
	if c.NArg() == 0 {
		list := gke.Catalogue()
		if format == "json" {
			return writeJSON(c.App.Writer, list)
		}
		return writeCatalogue(c.App.Writer, list)
	}
	var list []request
	for _, name := range c.Args().Slice() {
		a, err := readAccelerator(name, c.Bool(strictName))
		if err != nil {
			return err
		}
		list = append(list, requestOf(a))
	}
	if format == "json" {
		return writeJSON(c.App.Writer, list)
	}
	for i, r := range list {
		if i > 0 {
			fmt.Fprintln(c.App.Writer)
		}
		if err := r.write(c.App.Writer); err != nil {
			return err
		}
	}
	return nil
}

// readAccelerator resolves a name of the command line. The error is of the command
// line, too, with what there is as its hint.
func readAccelerator(name string, strict bool) (gke.Accelerator, error) {
	a, err := gke.Resolve(name, strict)
	var unknown *gke.AcceleratorError
	if errors.As(err, &unknown) {
		return a, &usage{msg: unknown.Error(), hint: unknown.Hint}
	}
	return a, err
}

// writeCatalogue writes a line for each size of each accelerator.
func writeCatalogue(w io.Writer, list []gke.Entry) error {
	table := tabwriter.NewWriter(plainText{w}, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tDEVICES\tHOSTS\tMEMORY EACH\tARCH\tMACHINE TYPES")
	var rules []string
	for _, e := range list {
		for i, o := range e.Options {
			name := e.Name + ":" + o.Size()
			if i > 0 && e.Options[i-1].Size() == o.Size() {
				name += ":" + o.Machines[0]
			}
			fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\n", name, o.Chips, o.Hosts, gigabytes(e.Memory), e.Arch, strings.Join(o.Machines, " "))
		}
		if text := about(e); text != "" {
			rules = append(rules, text)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, text := range rules {
		fmt.Fprintln(w, text)
	}
	return nil
}

// about is what the table cannot say of an accelerator.
func about(e gke.Entry) string {
	var said []string
	if len(e.Aliases) > 0 {
		said = append(said, "also "+strings.Join(e.Aliases, ", "))
	}
	if rule := e.Rule(); rule != "" {
		said = append(said, rule)
	}
	if e.Note != "" {
		said = append(said, e.Note)
	}
	if len(said) == 0 {
		return ""
	}
	return e.Name + ": " + strings.Join(said, "; ")
}

func gigabytes(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d GB", n)
}

// request is what a name asks a cluster for.
type request struct {
	Name      string            `json:"name"` // as ibuild writes it
	Kind      gke.Kind          `json:"kind"`
	Devices   int               `json:"devices"`
	Topology  string            `json:"topology,omitempty"`
	Hosts     int               `json:"hosts"`
	PerHost   int               `json:"devicesPerHost"`
	Memory    int               `json:"memoryGB,omitempty"` // of each device
	Platform  string            `json:"platform"`
	Machines  []string          `json:"machines,omitempty"`
	Resource  string            `json:"resource,omitempty"`
	NodeLabel map[string]string `json:"nodeLabels"`
	Spot      bool              `json:"spot,omitempty"`
	Note      string            `json:"note,omitempty"`
}

func requestOf(a gke.Accelerator) request {
	r := request{Name: a.String(), Kind: a.Kind, Devices: a.Chips, Topology: a.Topology, Hosts: a.Hosts, PerHost: a.PerHost,
		Platform: "linux/" + a.Arch, Machines: a.Machines, Resource: a.Resource(), NodeLabel: a.NodeLabels(), Spot: a.Spot, Note: a.Note}
	for _, e := range gke.Catalogue() {
		if e.Name == a.Name {
			r.Memory = e.Memory
		}
	}
	return r
}

// write tells people.
func (r request) write(w io.Writer) error {
	fmt.Fprintln(w, r.Name)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "  %s\t%s\n", name, value)
		}
	}
	line("devices", r.devices())
	if r.Memory > 0 {
		line("memory", gigabytes(r.Memory)+" each")
	}
	line("machines", strings.Join(r.Machines, ", "))
	line("platform", r.Platform)
	for i, label := range slices.Sorted(maps.Keys(r.NodeLabel)) {
		line([]string{"node labels", " "}[min(i, 1)], label+"="+r.NodeLabel[label])
	}
	if r.Resource != "" {
		line("each pod asks", fmt.Sprintf("%s: %d", r.Resource, r.PerHost))
	}
	line("note", r.Note)
	return table.Flush()
}

func (r request) devices() string {
	what := cmp.Or(map[gke.Kind]string{gke.GPU: "GPU", gke.TPU: "chip"}[r.Kind], "device")
	if r.Devices == 0 {
		return "none"
	}
	if r.Devices > 1 {
		what += "s"
	}
	text := fmt.Sprintf("%d %s on 1 host", r.Devices, what)
	if r.Hosts > 1 {
		text = fmt.Sprintf("%d %s on %d hosts with %d each", r.Devices, what, r.Hosts, r.PerHost)
	}
	if r.Spot {
		text += ", spot"
	}
	return text
}

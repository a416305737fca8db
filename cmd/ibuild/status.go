package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/ibuild/ibuild/runner/gke"
	"github.com/urfave/cli/v2"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "say whether jobs can run in a cluster, and which accelerators it has",
		Description: `It asks the cluster what ibuild run would ask before it builds: does it answer, is the namespace there, what may you do,
which node pools are there with which accelerators, how many of their nodes are free, which of them an autoscaler
fills, and are JobSet (for several TPU slices) and Kueue (for queues) installed.

   ibuild status
   ibuild status --context gke_my-project_us-central1_tpus --namespace research
   ibuild status --format json

Exit codes: 0 jobs can run, 1 something stands against them, 2 usage, 3 credentials or rights, 4 cluster out of reach.`,
		Flags:  slices.Concat([]cli.Flag{formatFlag()}, clusterFlags()),
		Action: runStatus,
	}
}

func runStatus(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	if err := noArgs(c); err != nil {
		return err
	}
	cluster, err := openCluster(c)
	if err != nil {
		return err
	}
	about, err := cluster.About(c.Context)
	if err != nil {
		return err
	}
	if format == "json" {
		err = writeJSON(c.App.Writer, about)
	} else {
		err = writeStatus(plainText{c.App.Writer}, about)
	}
	if err == nil && !(about.There && len(about.Forbidden) == 0) {
		return &childExit{code: exitBuild}
	}
	return err
}

// writeStatus tells people, with what to do about what is missing.
func writeStatus(w io.Writer, a *gke.About) error {
	d := &checkup{out: w}
	d.ok("cluster", "%s at %s, Kubernetes %s", cmp.Or(a.Context, "of this pod"), a.Server, a.Version)
	if a.There {
		d.ok("namespace", "%s", a.Namespace)
	} else {
		d.fail("namespace", &usage{msg: a.Namespace + " does not exist", hint: "take another --namespace, or have it made: kubectl create namespace " + a.Namespace})
	}
	if len(a.Forbidden) == 0 {
		d.ok("rights", "you may do all that jobs take")
	} else {
		d.fail("rights", &usage{msg: "you may not " + strings.Join(a.Forbidden, ", "), hint: a.RightsHint()})
	}
	installed(d, "JobSet", a.JobSet, "jobs of several TPU slices", "https://jobset.sigs.k8s.io/docs/installation")
	installed(d, "Kueue", a.Kueue != "", "queues", "https://kueue.sigs.k8s.io/docs/installation")
	for _, q := range a.Queues {
		text := fmt.Sprintf("%s of %s: %d waiting, %d running", q.Name, q.Cluster, q.Pending, q.Admitted)
		if q.Stopped != "" {
			d.note("queue", "%s; it takes no jobs now: %s", text, q.Stopped)
		} else {
			d.ok("queue", "%s", text)
		}
	}
	for _, n := range append(slices.Clone(a.Notes), a.Warnings...) {
		d.note("pools", "%s", n)
	}
	fmt.Fprintln(w)
	return writePools(w, a.Pools)
}

func installed(d *checkup, what string, is bool, why, where string) {
	if is {
		d.ok(what, "is installed")
		return
	}
	d.note(what, "is not installed; %s need it: %s", why, where)
}

// writePools writes a line for each pool.
func writePools(w io.Writer, pools []gke.Pool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "POOL\tACCELERATOR\tMACHINE\tDEVICES EACH\tNODES\tFREE\tAUTOSCALED\tNOTE")
	for _, p := range pools {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", p.Name, cmp.Or(strings.TrimSpace(p.Accelerator+" "+p.Topology), "-"), cmp.Or(p.Machine, "?"),
			devicesText(p), p.Nodes, freeText(p), growsText(p), poolNote(p))
	}
	return table.Flush()
}

func devicesText(p gke.Pool) string {
	if p.Resource == "" {
		return "-"
	}
	if p.Devices == 0 {
		return "?"
	}
	return fmt.Sprint(p.Devices)
}

// freeText is how many nodes have no device in use, or where that is not known how many take pods.
func freeText(p gke.Pool) string {
	switch {
	case p.Nodes == 0:
		return "-"
	case p.Idle < 0:
		return fmt.Sprintf("%d ready", p.Ready)
	}
	return fmt.Sprint(p.Idle)
}

func growsText(p gke.Pool) string {
	switch {
	case p.Grows && p.Max > 0:
		return fmt.Sprintf("up to %d", p.Max)
	case p.Grows:
		return "yes"
	}
	return "no"
}

func poolNote(p gke.Pool) string {
	var notes []string
	if p.Opaque {
		notes = append(notes, "only its name can be seen from here")
	}
	if p.Spot {
		notes = append(notes, "spot")
	}
	if p.Trouble != "" {
		notes = append(notes, p.Trouble)
	}
	return strings.Join(notes, "; ")
}

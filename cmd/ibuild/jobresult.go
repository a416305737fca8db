package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/docker/go-units"
	"github.com/ibuild/ibuild/runner/bootstrap/results"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/ibuild/ibuild/runner/launch"
	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"
)

// jobResultCommand is the one of ibuild jobs.
func jobResultCommand() *cli.Command {
	return &cli.Command{
		Name:      "result",
		Usage:     "fetch what a job has left in its output folder",
		ArgsUsage: "NAME [FOLDER]",
		Description: `What the program has left in $IBUILD_OUTPUT_DIR is in the registry when the job has ended, also when it has failed.
Of a job that was cancelled, ibuild jobs cancel says where they are. FOLDER is NAME in the current folder by default.
The results of several hosts go to host-0, host-1, …
below it, those of several slices to slice-0-host-0, …

   ibuild jobs result train-x7k2q
   ibuild jobs result --overwrite train-x7k2q out

Any machine can fetch them that reaches the cluster, where the job says where they are, and may pull from the registry.
Files appear under their names when all of them are there and verified. What the job could not save (sockets, files
that nobody may read) is named.

Exit codes: 0 fetched, 1 there are none, 2 usage, or FOLDER is not empty, 3 credentials or rights, 4 cluster or registry
out of reach.`,
		Flags:  slices.Concat(resultFlags(), clusterFlags()),
		Action: runJobResult,
	}
}

func runJobResult(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	if c.NArg() == 0 {
		return &usage{msg: "the NAME of the job is missing", hint: "ibuild jobs list has the names; write " + c.Command.UsageText}
	}
	args, err := someArgs(c, "")
	if err != nil {
		return err
	}
	if len(args) > 2 {
		return &usage{msg: fmt.Sprintf("%d arguments, and not a NAME and a FOLDER", len(args)), hint: "write " + c.Command.UsageText}
	}
	to, err := resultTarget(c, args[len(args)-1]) // NAME is the folder, too, where none is named
	if err != nil {
		return err
	}
	cluster, err := openCluster(c)
	if err != nil {
		return err
	}
	h, err := wire(c)
	if err != nil {
		return err
	}
	defer h.close()
	run, err := cluster.Find(c.Context, args[0])
	if err != nil {
		return err
	}
	fetched, err := h.fetchResults(c.Context, run, to)
	if err != nil {
		return err
	}
	return writeFetched(c.App.Writer, format, fetched)
}

// resultFlags say how results are brought here, without the cluster that they are of.
func resultFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "overwrite", Usage: "replace files that are in FOLDER already; without it, FOLDER has to be empty"},
		&cli.StringFlag{Name: "max-size", Usage: "fetch no results of a host that have more than this `SIZE`: 500MB, 10GB; 100GiB by default"},
		&cli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT`: text or json"},
	}
}

// resultTarget reads the flags.
func resultTarget(c *cli.Context, folder string) (results.Target, error) {
	size, err := readSize(c, "max-size")
	return results.Target{Folder: folder, Overwrite: c.Bool("overwrite"), MaxBytes: size}, err
}

// fetchResults brings what a job has left to a folder, and says it. The hosts are those of its state: as many as the
// job has, with the digests that they have reported as long as their pods are known.
func (h *house) fetchResults(ctx context.Context, run *gke.Run, to results.Target) ([]launch.Fetched, error) {
	at := run.Fact(launch.ResultsFact)
	if at == "" {
		return nil, &usage{msg: fmt.Sprintf("job %s pushes no results", run.Name),
			hint: "it was submitted with --results-auth none, or its output folder is storage that is still there (--output-dir gs://… or pvc://…)"}
	}
	state, err := run.State(ctx)
	if err != nil {
		return nil, err
	}
	fetched, err := launch.FetchResults(ctx, h.registry, at, resultHosts(state), to)
	return fetched, resultError(err)
}

// resultHosts are the hosts of a job that may have results. What a host of an attempt before has reported is not what
// the tag stands for any more, so only what a host that has ended says is believed.
func resultHosts(s gke.State) []launch.HostResult {
	var out []launch.HostResult
	for _, h := range s.Hosts {
		r := launch.HostResult{Slice: h.Slice, Index: h.Index}
		if d, err := digest.Parse(h.Result); err == nil && h.Phase.Ended() {
			r.Digest = d
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		out = append(out, launch.HostResult{})
	}
	return out
}

// resultError says which flag helps.
func resultError(err error) error {
	var full *results.NotEmptyError
	var large *results.TooLargeError
	switch {
	case errors.As(err, &full):
		return &usage{msg: err.Error(), hint: "name another folder, or replace what is in it with --overwrite"}
	case errors.As(err, &large):
		return &usage{msg: err.Error(), hint: fmt.Sprintf("allow it with --max-size %dGB", large.Bytes/1e9+1)}
	}
	return err
}

// fetchedHost is one host's results, for programs.
type fetchedHost struct {
	Slice  int            `json:"slice"`
	Index  int            `json:"index"`
	Folder string         `json:"folder,omitempty"`
	Digest digest.Digest  `json:"digest,omitempty"`
	Files  int            `json:"files"`
	Bytes  int64          `json:"bytes"`
	Missed int            `json:"missed,omitempty"`
	Left   []results.Left `json:"left,omitempty"`
}

// writeFetched says what was brought.
func writeFetched(w io.Writer, format string, list []launch.Fetched) error {
	if format == "json" {
		out := make([]fetchedHost, 0, len(list))
		for _, f := range list {
			host := fetchedHost{Slice: f.Slice, Index: f.Index, Digest: f.Summary.Digest, Files: f.Summary.Files, Bytes: f.Summary.Bytes, Missed: f.Summary.Missed, Left: f.Summary.Left}
			if host.Digest != "" {
				host.Folder = f.Folder
			}
			out = append(out, host)
		}
		return writeJSON(w, out)
	}
	w = plainText{w}
	for _, f := range list {
		if f.Summary.Digest == "" {
			fmt.Fprintf(w, "host %s has left no results\n", hostName(list, f))
			continue
		}
		fmt.Fprintf(w, "%s (files: %d, size: %s)\n", f.Folder, f.Summary.Files, units.HumanSize(float64(f.Summary.Bytes)))
		for _, left := range f.Summary.Left {
			fmt.Fprintf(w, "  not there: %s\n", left)
		}
		if more := f.Summary.Missed - len(f.Summary.Left); more > 0 {
			fmt.Fprintf(w, "  not there: %d more\n", more)
		}
	}
	return nil
}

// hostName is the number of a host, with its slice where there are several.
func hostName(list []launch.Fetched, f launch.Fetched) string {
	if list[len(list)-1].Slice == list[0].Slice {
		return fmt.Sprint(f.Index)
	}
	return fmt.Sprintf("%d of slice %d", f.Index, f.Slice)
}

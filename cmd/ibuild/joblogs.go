package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ibuild/ibuild/runner/gke"
	"github.com/urfave/cli/v2"
)

func jobLogsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print what a job's hosts have written",
		ArgsUsage: "NAME",
		Description: `   ibuild jobs logs train-x7k2q
   ibuild jobs logs --follow --host 0 train-x7k2q
   ibuild jobs logs --tail 100 --since 10m train-x7k2q

With several hosts each line begins with its host. With --follow the output goes on until the job has ended, also when
connections break.

Exit codes: 0 printed, 2 usage, or there is no such job, 3 credentials or rights, 4 cluster out of reach.`,
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the job has ended"},
			&cli.IntFlag{Name: "tail", Usage: "`NUMBER` of the last lines of each host; all by default"},
			&cli.DurationFlag{Name: "since", Usage: "`TIME` that lines may be old, such as 10m"},
			&cli.StringSliceFlag{Name: "host", Usage: "`HOST` to show: its number, or SLICE/NUMBER; several are allowed"},
		}, clusterFlags()),
		Action: runJobLogs,
	}
}

func runJobLogs(c *cli.Context) error {
	o := gke.LogOptions{Follow: c.Bool("follow"), Tail: c.Int("tail"), Since: c.Duration("since")}
	if o.Tail < 0 || o.Since < 0 {
		return &usage{msg: "--tail and --since are not below 0", hint: "leave them out for all lines"}
	}
	for _, text := range c.StringSlice("host") {
		at, err := parseHost(text)
		if err != nil {
			return err
		}
		o.Hosts = append(o.Hosts, at)
	}
	run, err := findJob(c)
	if err != nil {
		return err
	}
	return run.Logs(c.Context, o, newLogPrinter(c.App.Writer, c.App.ErrWriter, run).write)
}

// parseHost reads NUMBER or SLICE/NUMBER.
func parseHost(text string) (at gke.Place, err error) {
	slice, index, ok := strings.Cut(text, "/")
	if !ok {
		slice, index = "0", text
	}
	at.Slice, err = strconv.Atoi(slice)
	if err == nil {
		at.Index, err = strconv.Atoi(index)
	}
	if err != nil || at.Slice < 0 || at.Index < 0 {
		return gke.Place{}, &usage{msg: fmt.Sprintf("--host %q is not a host", text), hint: "write its number, or SLICE/NUMBER"}
	}
	return at, nil
}

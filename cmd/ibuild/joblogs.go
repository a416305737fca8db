package main

import (
	"fmt"
	"slices"

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
		var at gke.Place
		if n, err := fmt.Sscanf(text, "%d/%d", &at.Slice, &at.Index); n != 2 || err != nil {
			if n, err := fmt.Sscanf(text, "%d", &at.Index); n != 1 || err != nil {
				return &usage{msg: fmt.Sprintf("--host %q is not a host", text), hint: "write its number, or SLICE/NUMBER"}
			}
			at.Slice = 0
		}
		o.Hosts = append(o.Hosts, at)
	}
	run, err := findJob(c)
	if err != nil {
		return err
	}
	return run.Logs(c.Context, o, newLogPrinter(c.App.Writer, c.App.ErrWriter, run).write)
}

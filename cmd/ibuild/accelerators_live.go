package main

import (
	"cmp"
	"fmt"
	"text/tabwriter"

	"github.com/ibuild/ibuild/runner/gke"
	"github.com/urfave/cli/v2"
)

// livePool is a pool with the name by which jobs ask for it.
type livePool struct {
	Ask string `json:"ask"` // for --accelerator; empty when that is not known
	gke.Pool
}

// runLive lists what the cluster has.
func runLive(c *cli.Context, format string) error {
	if c.NArg() > 0 {
		return &usage{msg: "--live takes no NAME", hint: "ibuild run asks by itself whether a pool can hold the job, before it builds"}
	}
	cluster, err := openCluster(c)
	if err != nil {
		return err
	}
	pools, notes, err := cluster.Pools(c.Context)
	if err != nil {
		return err
	}
	list := []livePool{}
	for _, p := range pools {
		list = append(list, livePool{p.Ask(), p})
	}
	if format == "json" {
		return writeJSON(c.App.Writer, list)
	}
	table := tabwriter.NewWriter(plainText{c.App.Writer}, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ASK FOR\tPOOL\tMACHINE\tNODES\tFREE\tAUTOSCALED\tNOTE")
	for _, p := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", cmp.Or(p.Ask, "?"), p.Name, cmp.Or(p.Machine, "?"), p.Nodes, freeText(p.Pool), growsText(p.Pool), poolNote(p.Pool))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintln(plainText{c.App.ErrWriter}, "note: "+n)
	}
	return nil
}

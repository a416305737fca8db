package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
)

func llbCommand() *cli.Command {
	return &cli.Command{
		Name:      "llb",
		Usage:     "print what a builder would be asked to do, without a builder",
		ArgsUsage: "SOURCE",
		Description: `The graph comes from the same function that builds. Its JSON is canonical: the same bytes for the
same work on every machine, with the files of local sources by their digest.

   ibuild llb train.py
   ibuild llb --format svg --platform linux/arm64 . > graph.svg
   ibuild llb --identity image.yaml

Exit codes: 0 printed, 2 usage, or something is wrong with the source, 3 credentials, 4 registry out of reach.`,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "format", Value: "json", Usage: "`FORMAT`: json, dot (for Graphviz) or svg"},
			&cli.BoolFlag{Name: "identity", Usage: "print the image's identity: the digest of all that decides what is in it"},
			noCacheFlag(),
			noLockFlag(),
		}, sourceFlags(), []cli.Flag{builderFlag()}),
		Action: runLLB,
	}
}

func runLLB(c *cli.Context) error {
	format, err := oneOf(c, "format", "json", "dot", "svg")
	if err != nil {
		return err
	}
	j, err := open(c)
	if err != nil {
		return err
	}
	defer j.close()
	g, err := j.engine("quiet", nil).Graph(c.Context, j.req)
	if err != nil {
		return err
	}
	switch {
	case c.Bool("identity"):
		_, err = fmt.Fprintln(c.App.Writer, g.Identity())
		return err
	case format == "dot":
		return g.WriteDOT(c.App.Writer)
	case format == "svg":
		return g.WriteSVG(c.App.Writer)
	}
	return g.WriteJSON(c.App.Writer)
}

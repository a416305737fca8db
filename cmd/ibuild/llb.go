package main

import (
	"fmt"
	"os"
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
   ibuild llb --identity image.yaml`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "format", Value: "json", Usage: "json, dot (for Graphviz) or svg"},
			&cli.BoolFlag{Name: "identity", Usage: "print the image's identity: the digest of all that decides what is in it"},
			&cli.BoolFlag{Name: "no-cache", Usage: "as in build: every step runs"},
			noLock(),
		}, append(sourceFlags(), builderFlags()...)...),
		Action:       runLLB,
		OnUsageError: usageError,
	}
}

func runLLB(c *cli.Context) error {
	format := c.String("format")
	if !slices.Contains([]string{"json", "dot", "svg"}, format) {
		return &usage{msg: fmt.Sprintf("--format %s: json, dot or svg", format)}
	}
	src, err := oneArg(c, "")
	if err != nil {
		return err
	}
	h, err := wire(c)
	if err != nil {
		return err
	}
	defer h.close()
	req, err := load(c, h, src)
	if err != nil {
		return err
	}
	warn(os.Stderr, "", req.Plan)
	g, err := h.engine("quiet", nil).Graph(c.Context, req)
	if err != nil {
		return err
	}
	switch {
	case c.Bool("identity"):
		fmt.Println(g.Identity())
		return nil
	case format == "dot":
		return g.WriteDOT(os.Stdout)
	case format == "svg":
		return g.WriteSVG(os.Stdout)
	}
	return g.WriteJSON(os.Stdout)
}

package main

import (
	"fmt"
	"os"

	"github.com/ibuild/ibuild/engine"
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
   ibuild llb --format dot --platform linux/arm64 . | dot -Tsvg > graph.svg`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "format", Value: "json", Usage: "json or dot"},
			&cli.BoolFlag{Name: "identity", Usage: "print the digest that the result is remembered under"},
			&cli.BoolFlag{Name: "no-cache", Usage: "as in build: every step runs"},
		}, append(sourceFlags(), builderFlags()...)...),
		Action:       runLLB,
		OnUsageError: usageError,
	}
}

func runLLB(c *cli.Context) error {
	format := c.String("format")
	if format != "json" && format != "dot" {
		return &usage{msg: fmt.Sprintf("--format %s: json or dot", format)}
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
	plan, opt, err := load(c, h, src)
	if err != nil {
		return err
	}
	g, err := h.engine("quiet", nil).Graph(c.Context, engine.Request{Plan: plan, Options: opt})
	if err != nil {
		return err
	}
	switch {
	case c.Bool("identity"):
		fmt.Println(g.Identity())
		return nil
	case format == "dot":
		return g.WriteDOT(os.Stdout)
	}
	return g.WriteJSON(os.Stdout)
}

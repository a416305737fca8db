package main

import (
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/urfave/cli/v2"
)

func specCommand() *cli.Command {
	return &cli.Command{
		Name:      "spec",
		Usage:     "write, show and check image specs",
		ArgsUsage: "COMMAND",
		Description: `An image spec says what an image is made of, as YAML. docs/spec.md has all keys.

   ibuild spec init
   ibuild spec validate image.yaml
   ibuild spec show train.py`,
		Subcommands: []*cli.Command{specInitCommand(), specShowCommand(), specValidateCommand(), specSchemaCommand()},
		Action:      noCommand,
	}
}

func specSchemaCommand() *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print the JSON Schema of image specs, for editors",
		Description: `Editors complete and check specs with it. Most find it by the spec's first line:

   # yaml-language-server: $schema=` + spec.SchemaURL + `

   ibuild spec schema > image.schema.json`,
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			data, err := spec.Schema()
			if err != nil {
				return err
			}
			_, err = c.App.Writer.Write(data)
			return err
		},
	}
}

package main

import (
	"fmt"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/urfave/cli/v2"
)

func specCommand() *cli.Command {
	cmd := &cli.Command{
		Name:  "spec",
		Usage: "write, show and check image specs",
		Description: `An image spec says what an image is made of, as YAML. docs/spec.md has all keys.

   ibuild spec init
   ibuild spec validate image.yaml
   ibuild spec show train.py`,
		Subcommands:     []*cli.Command{specInitCommand(), specShowCommand(), specValidateCommand(), specSchemaCommand()},
		HideHelpCommand: true,
		Action:          noSpecCommand,
		OnUsageError:    specUsageError,
	}
	for _, sub := range cmd.Subcommands {
		sub.OnUsageError = specUsageError
	}
	return cmd
}

// noSpecCommand runs when the word after spec is no command's name.
func noSpecCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowSubcommandHelp(c)
	}
	return &usage{msg: fmt.Sprintf("there is no command %q in ibuild spec", c.Args().First()), hint: "the commands are init, show, validate, schema"}
}

// specUsageError is usageError with the name that the command has here.
func specUsageError(c *cli.Context, err error, sub bool) error {
	err = usageError(c, err, sub)
	if u, ok := err.(*usage); ok {
		u.hint = strings.Replace(u.hint, "see ibuild "+c.Command.Name+" ", "see "+specName(c)+" ", 1)
	}
	return err
}

func specName(c *cli.Context) string {
	if c.Command.Name == "spec" {
		return "ibuild spec"
	}
	return "ibuild spec " + c.Command.Name
}

// flagsFirst refuses flags after the arguments, which would be taken for arguments.
func flagsFirst(c *cli.Context) error {
	for _, a := range c.Args().Slice() {
		if len(a) > 1 && strings.HasPrefix(a, "-") {
			return &usage{msg: fmt.Sprintf("%s comes after an argument", a), hint: "flags go first: " + specName(c) + " [flags] " + c.Command.ArgsUsage}
		}
	}
	return nil
}

// specArg is the only argument of a command, or fallback when there is none.
func specArg(c *cli.Context, fallback string) (string, error) {
	if err := flagsFirst(c); err != nil {
		return "", err
	}
	switch {
	case c.NArg() > 1:
		return "", &usage{msg: "one at a time: got " + strings.Join(c.Args().Slice(), " "), hint: "see " + specName(c) + " --help"}
	case c.NArg() == 1:
		return c.Args().First(), nil
	case fallback == "":
		return "", &usage{msg: "the source is missing", hint: "see " + specName(c) + " --help"}
	}
	return fallback, nil
}

func specSchemaCommand() *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print the JSON Schema of image specs, for editors",
		Description: `Editors complete and check specs with it. Most find it by the spec's first line:

   # yaml-language-server: $schema=` + spec.SchemaURL + `

   ibuild spec schema > image.schema.json`,
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return &usage{msg: "ibuild spec schema takes no arguments"}
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

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/urfave/cli/v2"
)

func specValidateCommand() *cli.Command {
	return &cli.Command{
		Name:      "validate",
		Usage:     "find everything that is wrong with sources, without a builder or a registry",
		ArgsUsage: "SOURCE...",
		Description: `Each SOURCE is a folder, an image spec, a uv script, a Dockerfile, a notebook, or - for standard input. All
findings come at once, with file, line and column, and what to do. Secrets that are not on this machine
are warnings.

   ibuild spec validate .
   ibuild spec validate --strict services/*/image.yaml
   ibuild spec validate --format json train.py | jq '.[].message'

--format json is a list, empty when all is well, of {"file", "line", "column", "severity", "message", "hint"}:
line and column count from 1 and are 0 where there are none, severity is "error" or "warning", hint is ""
where the message says it all. --format github is what GitHub shows beside the lines of a change, and the
default where GITHUB_ACTIONS=true.

Exit codes: 0 no errors (there may be warnings), 2 usage, or errors.`,
		Flags: append(givenFlags(),
			&cli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT`: text, json or github"},
			&cli.BoolFlag{Name: "strict", Usage: "take warnings for errors"},
		),
		Action: runSpecValidate,
	}
}

// severity says whether a finding stops a build.
type severity string

const (
	isError   severity = "error"
	isWarning severity = "warning"
)

// finding is one thing that is wrong; its JSON form is documented in the command's help.
type finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Severity severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint"`
}

func runSpecValidate(c *cli.Context) error {
	print, err := findingsFormat(c)
	if err != nil {
		return err
	}
	args, err := someArgs(c, "")
	if err != nil {
		return err
	}
	pipes := 0
	for _, a := range append(args, c.String("file")) {
		if a == "-" {
			pipes++
		}
	}
	switch {
	case len(args) > 1 && c.String("file") != "":
		return &usage{msg: "-f goes with one folder", hint: "name the files as sources"}
	case pipes > 1:
		return &usage{msg: "standard input can be read only once", hint: "give - once"}
	}
	found := []finding{}
	for _, a := range args {
		found = append(found, validate(given(c, a))...)
	}
	failed := false
	for i := range found {
		if c.Bool("strict") {
			found[i].Severity = isError
		}
		failed = failed || found[i].Severity == isError
	}
	if err := print(c.App.Writer, found); err != nil {
		return err
	}
	if failed {
		return &childExit{code: exitUsage} // all is said
	}
	return nil
}

// findingsFormat is how findings are printed.
func findingsFormat(c *cli.Context) (func(io.Writer, []finding) error, error) {
	format, err := oneOf(c, "format", "text", "json", "github")
	if err != nil {
		return nil, err
	}
	if !c.IsSet("format") && os.Getenv("GITHUB_ACTIONS") == "true" {
		format = "github"
	}
	switch format {
	case "json":
		return printJSON, nil
	case "github":
		workspace := os.Getenv("GITHUB_WORKSPACE")
		return func(w io.Writer, list []finding) error { return printGitHub(w, workspace, list) }, nil
	}
	return printText, nil
}

// validate finds everything that is wrong with one source.
func validate(o frontends.Options) []finding {
	var out []finding
	add := func(s severity, err error) {
		var all source.Errors
		all.Collect(err)
		for _, e := range all {
			f := finding{File: e.File, Line: e.Line, Column: e.Column, Severity: s, Message: source.Printable(e.Msg), Hint: source.Printable(e.Hint)}
			if f.File == "" {
				f.File = o.Source
			}
			out = append(out, f)
		}
	}
	plan, err := frontends.Load(o)
	add(isError, err)
	if plan == nil {
		return out
	}
	remarks, problems := checkDockerfile(plan)
	add(isError, problems)
	var warnings source.Errors
	for _, w := range plan.Warnings {
		warnings.Collect(w)
	}
	warnings = append(warnings, remarks...)
	warnings = append(warnings, missingSecrets(plan)...)
	add(isWarning, warnings.Err())
	return out
}

// missingSecrets are the secrets that a build on this machine would not find.
func missingSecrets(plan *llb.Plan) source.Errors {
	var out source.Errors
	for _, need := range plan.Secrets {
		if need.Optional || need.File != "" {
			continue
		}
		_, looked, ok := findSecret(need)
		if ok {
			continue
		}
		e := &source.Error{Msg: fmt.Sprintf("the secret %q is nowhere on this machine (looked at: %s)", need.ID, strings.Join(withoutFlag(looked), ", ")),
			Hint: "give it to the build with --secret id=" + need.ID + ",src=FILE or ,env=NAME"}
		if plan.Image != nil && need.Lines.File < len(plan.Image.Sources) {
			e.File, e.Line = plan.Image.Sources[need.Lines.File].Name, need.Lines.First
		}
		out = append(out, e)
	}
	return out
}

// withoutFlag leaves out the flag of `ibuild build`, which this command does not have.
func withoutFlag(looked []string) []string {
	if len(looked) > 0 && looked[0] == "--secret" {
		return looked[1:]
	}
	return looked
}

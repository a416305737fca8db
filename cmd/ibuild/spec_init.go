package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec"
	"github.com/ibuild/ibuild/frontends/spec/draft"
	"github.com/urfave/cli/v2"
)

// specFile is the spec that `ibuild build FOLDER` looks for first.
const specFile = "image.yaml"

func specInitCommand() *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "write a first image spec, made of what is in a folder",
		ArgsUsage: "[FOLDER]",
		Description: `It looks for lock files, requirements, environments and scripts, and writes a spec with comments that say
why each line is there. On a terminal it asks a few questions first; Enter takes what is in brackets.

   ibuild spec init
   ibuild spec init --yes --name train --registry ghcr.io/me .
   ibuild spec init --from train.py -o -

Nothing is overwritten without --force. A folder whose Dockerfile, script or notebook says all needs no spec; one
that names that file is written when --from asks for it.

Exit codes: 0 written, 2 usage, or nothing to write.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` to write in the folder, image.yaml by default; - is standard output"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y", "no-input"}, Usage: "ask nothing"},
			&cli.StringFlag{Name: "from", Usage: "`FILE` in the folder that says what is in the image"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the image"},
			&cli.StringFlag{Name: "registry", Usage: "`HOST[:PORT][/PATH]` that the image is pushed to"},
			&cli.StringFlag{Name: "python", Usage: "`X.Y` of the image's Python"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite the file that is there"},
		},
		Action: runSpecInit,
	}
}

func runSpecInit(c *cli.Context) error {
	dir, err := oneArg(c, ".")
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return &usage{msg: fmt.Sprintf("%s: %v", dir, pathless(err)), hint: "give the folder of the code"}
	}
	defer root.Close()
	out, err := specOutput(c, root, dir)
	if err != nil {
		return err
	}
	folder, err := draft.Find(root.FS())
	if err != nil {
		return &usage{msg: fmt.Sprintf("%s: %v", dir, pathless(err))}
	}
	answers := draft.Answers{Name: c.String("name"), Registry: c.String("registry"), Python: c.String("python")}
	if answers.From, err = chosenFrom(c, folder); err != nil {
		return err
	}
	if answers.Name == "" && folder.Name.Value == "" {
		answers.Name = folderName(dir)
	}
	if err := checkAnswers(answers); err != nil {
		return err
	}
	if asksQuestions(c) {
		i := &interview{in: bufio.NewScanner(os.Stdin), out: os.Stderr, folder: folder, answers: answers}
		i.given = c.IsSet
		if err := i.run(); err != nil {
			return err
		}
		answers = i.answers
	} else if err := needsAsking(folder, answers); err != nil {
		return err
	}
	text, err := folder.Spec(answers)
	if errors.Is(err, draft.ErrNotebook) {
		return &usage{msg: answers.From.File + ": " + err.Error(), hint: "`ibuild build " + answers.From.File + "` takes the notebook as it is"}
	}
	if err != nil {
		return err
	}
	return writeSpec(c, out, text)
}

// asksQuestions says whether somebody is there to answer.
func asksQuestions(c *cli.Context) bool {
	return !c.Bool("yes") && os.Getenv("CI") == "" && terminal(os.Stdin) && terminal(os.Stderr)
}

// specOutput is the path to write to, "-" for standard output. The paths in a spec are relative to its own
// folder, so it belongs into the one that was looked at.
func specOutput(c *cli.Context, root *os.Root, dir string) (string, error) {
	out := c.String("output")
	if out == "-" {
		return out, nil
	}
	if out == "" {
		out = filepath.Join(dir, specFile)
	}
	there, err := os.Stat(filepath.Dir(out))
	here, errHere := root.Stat(".")
	switch {
	case err != nil || errHere != nil:
		return "", &usage{msg: fmt.Sprintf("-o %s: %v", out, pathless(errors.Join(err, errHere)))}
	case !os.SameFile(there, here):
		return "", &usage{msg: fmt.Sprintf("-o %s is not in the folder %s, and the paths in a spec are relative to its own folder", out, dir), hint: "write it there, or to standard output: -o -"}
	}
	for _, name := range []string{filepath.Base(out), specFile, "image.yml"} {
		if _, err := root.Lstat(name); err == nil && !c.Bool("force") {
			return "", &usage{msg: fmt.Sprintf("%s is there already", filepath.Join(dir, name)), hint: "look at it with `ibuild spec show`, or overwrite with --force"}
		}
	}
	return out, nil
}

// chosenFrom is the file that --from names.
func chosenFrom(c *cli.Context, folder draft.Folder) (draft.From, error) {
	name := c.String("from")
	if name == "" {
		return draft.From{}, nil
	}
	if from, ok := folder.Find(filepath.ToSlash(filepath.Clean(name))); ok {
		return from, nil
	}
	hint := "nothing in the folder says what is in the image"
	if len(folder.From) > 0 {
		var names []string
		for _, f := range folder.From {
			names = append(names, f.File)
		}
		hint = "there are " + strings.Join(names, ", ")
	}
	return draft.From{}, &usage{msg: fmt.Sprintf("--from %s: an image is not made from this file, or it is not there", name), hint: hint}
}

// needsAsking refuses to write a spec that nobody needs and nobody asked for.
func needsAsking(folder draft.Folder, a draft.Answers) error {
	from, ok := folder.Default()
	if ok || a.From.Kind != "" {
		return nil
	}
	hint := "ibuild spec init --from " + from.File + " writes a spec that names it all the same"
	if from.Kind == draft.Notebook {
		hint = ""
	}
	return &usage{msg: fmt.Sprintf("no spec is needed: `ibuild build %s` takes the %s as it is", from.File, from.Kind), hint: hint}
}

// folderName makes an image's name of a folder's.
func folderName(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	return draft.ImageName(filepath.Base(abs))
}

// checkAnswers lets the spec itself say what is wrong with an answer.
func checkAnswers(a draft.Answers) error {
	a.From = draft.From{Kind: draft.Nothing}
	text, err := draft.Folder{}.Spec(a)
	if err != nil {
		return err
	}
	src, err := source.New(specFile, ".", text)
	if err == nil {
		_, err = spec.Parse(src)
	}
	var found source.Errors
	found.Collect(err)
	if len(found) == 0 {
		return nil
	}
	return &usage{msg: found[0].Msg, hint: found[0].Hint}
}

// writeSpec writes the draft, and says what to do next.
func writeSpec(c *cli.Context, out string, text []byte) error {
	if out == "-" {
		_, err := c.App.Writer.Write(text)
		return err
	}
	write := writeNew
	if c.Bool("force") {
		write = engine.WriteFile
	}
	err := write(out, text)
	if errors.Is(err, fs.ErrExist) {
		return &usage{msg: out + " is there already", hint: "overwrite it with --force"}
	}
	if err != nil {
		return &usage{msg: fmt.Sprintf("%s cannot be written: %v", out, pathless(err)), hint: "print it: -o -"}
	}
	fmt.Fprintf(plainText{c.App.ErrWriter}, "wrote %s; look it over, then: ibuild build %s\n", out, out)
	return nil
}

// writeNew never overwrites, also when the file has come up in between.
func writeNew(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Close()
	} else {
		f.Close()
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// pathless is the cause without the path, which the message has.
func pathless(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// interview asks for what is not known. A question repeats until its answer is of use.
type interview struct {
	in      *bufio.Scanner
	out     io.Writer
	folder  draft.Folder
	answers draft.Answers
	given   func(flag string) bool
}

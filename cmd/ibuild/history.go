package main

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/frontends"
	"github.com/urfave/cli/v2"
)

func historyCommand() *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "list past builds, or show one with its steps and times",
		ArgsUsage: "[NAME|SOURCE|ID]",
		Description: `NAME is an image, SOURCE what was built, ID the number of a build in the list. The last 20 builds of a name are
kept on this machine, and 300 in all.

   ibuild history
   ibuild history ghcr.io/me/train:v1
   ibuild history 42
   ibuild history --svg timeline.svg 42

Exit codes: 0 shown, 2 usage, or there is no such build.`,
		Flags: []cli.Flag{
			formatFlag(),
			&cli.IntFlag{Name: "limit", Value: 20, Usage: "`NUMBER` of builds to list, the newest"},
			&cli.StringFlag{Name: "svg", Usage: "write when each step of the build ID ran, as a picture, to `FILE`; - is standard output"},
		},
		Action: runHistory,
	}
}

func runHistory(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	arg := ""
	if c.NArg() > 0 {
		if arg, err = oneArg(c, ""); err != nil {
			return err
		}
	}
	h, err := wire(c)
	if err != nil {
		return err
	}
	defer h.close()
	log := journal.Open(h.cache)
	if id, err := strconv.ParseUint(arg, 10, 64); err == nil {
		return showBuild(c, log, id, format)
	}
	if c.String("svg") != "" {
		return &usage{msg: "--svg shows one build", hint: "write ibuild history --svg FILE ID"}
	}
	if c.Int("limit") < 1 {
		return &usage{msg: fmt.Sprintf("--limit cannot be %d", c.Int("limit")), hint: "write a number from 1 on"}
	}
	list, err := buildsOf(log, arg, c.Int("limit"))
	if err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(c.App.Writer, list)
	}
	return writeHistory(c.App.Writer, list, time.Local)
}

// buildsOf finds the newest builds of an image, of a source, or of all for "".
func buildsOf(log journal.Journal, arg string, limit int) ([]journal.Build, error) {
	if arg == "" {
		if list := log.Builds("", limit); len(list) > 0 {
			return list, nil
		}
		return nil, &usage{msg: "no build is recorded on this machine", hint: "ibuild build makes the first one"}
	}
	keys := []string{arg}
	if frontends.Here(arg) {
		path, err := pathOf(arg)
		if err != nil {
			return nil, err
		}
		keys = []string{path}
	} else if named, err := reference.ParseNormalizedNamed(arg); err == nil {
		keys = append(keys, reference.FamiliarString(named), reference.FamiliarString(reference.TagNameOnly(named)), reference.TagNameOnly(named).String())
	}
	for _, k := range keys {
		if list := log.Builds(k, limit); len(list) > 0 {
			return list, nil
		}
	}
	return nil, &usage{msg: "no build of " + arg + " is recorded on this machine", hint: "ibuild history lists all that are"}
}

// pathOf is the path under which builds of a source are recorded.
func pathOf(arg string) (string, error) {
	if arg == "-" {
		return "", &usage{msg: "what came from standard input has no name that its builds could be found by", hint: "give the image's name, or the number of a build"}
	}
	g, err := frontends.Read(frontends.Options{Source: arg})
	if err != nil {
		return "", err
	}
	return sourcePath(g)
}

func findBuild(log journal.Journal, id uint64) (journal.Build, error) {
	b, ok := log.Find(id)
	if !ok {
		return b, &usage{msg: fmt.Sprintf("there is no build %d", id), hint: "ibuild history lists those that are kept"}
	}
	return b, nil
}

func showBuild(c *cli.Context, log journal.Journal, id uint64, format string) error {
	b, err := findBuild(log, id)
	if err != nil {
		return err
	}
	switch file := c.String("svg"); {
	case file == "-":
		return b.WriteTimeline(c.App.Writer)
	case file != "":
		var svg bytes.Buffer
		if err := b.WriteTimeline(&svg); err != nil {
			return err
		}
		return engine.WriteFile(file, svg.Bytes())
	case format == "json":
		return writeJSON(c.App.Writer, b)
	}
	return writeBuild(c.App.Writer, &b, time.Local)
}

// writeHistory writes a table for people, with times of a place.
func writeHistory(w io.Writer, list []journal.Build, at *time.Location) error {
	table := tabwriter.NewWriter(plainText{w}, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tWHEN\tTOOK\tHOW\tKNOWN STEPS\tRESULT")
	for _, b := range list {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%d of %d\t%s\n", b.ID, flat(b.Name), when(b.Start, at), journal.Duration(b.Took), howText(&b), b.Cached, b.StepCount, resultText(&b))
	}
	return table.Flush()
}

// writeBuild writes all about one build for people.
func writeBuild(w io.Writer, b *journal.Build, at *time.Location) error {
	table := tabwriter.NewWriter(plainText{w}, 0, 0, 2, ' ', 0)
	line := func(name, value string) { row(table, name, value) }
	line("build", strconv.FormatUint(b.ID, 10))
	line("name", b.Name)
	line("source", strings.TrimSpace(b.Source+" ("+b.Kind+")"))
	line("when", when(b.Start, at))
	line("took", journal.Duration(b.Took))
	line("how", howText(b))
	line("error", b.Error)
	line("identity", b.Identity.String())
	line("pushed", strings.Join(b.Names, " "))
	if b.Sent > 0 {
		line("sent", cache.FormatSize(b.Sent))
	}
	line("outputs", strings.Join(b.Exports, " "))
	line("cache from", strings.Join(b.CacheFrom, ", "))
	line("cache to", strings.Join(b.CacheTo, ", "))
	if b.Result != nil {
		line("result", b.Result.Digest.String())
	}
	for _, img := range b.Images {
		line(img.Platform, img.Digest.String())
	}
	for _, base := range b.Bases {
		line("base", base.Name+"@"+base.Digest.String())
	}
	fmt.Fprintf(table, "\nSTART\tTOOK\tSTEP\n")
	for _, s := range b.Steps {
		fmt.Fprintf(table, "%s\t%s\t%s\n", journal.Duration(s.Start), stepTime(s), flat(s.Name))
		if s.Error != "" {
			fmt.Fprintf(table, "\t\t  %s\n", flat(s.Error))
		}
	}
	return table.Flush()
}

func stepTime(s journal.Step) string {
	switch {
	case s.Cached:
		return "known"
	case s.Took < 0:
		return "not ended"
	}
	return journal.Duration(s.Took)
}

// howText says what a build took.
func howText(b *journal.Build) string {
	switch {
	case b.Cancelled:
		return "cancelled"
	case b.Error != "":
		return "failed"
	case b.Builder != "":
		return b.How + " by " + b.Builder
	}
	return b.How
}

func resultText(b *journal.Build) string {
	if b.Result == nil {
		return "-"
	}
	return b.Result.Digest.Encoded()[:12]
}

// buildText is a build in a few words.
func buildText(b *journal.Build, at *time.Location) string {
	return fmt.Sprintf("build %d (%s, %s, %s)", b.ID, when(b.Start, at), howText(b), journal.Duration(b.Took))
}

func when(t time.Time, at *time.Location) string { return t.In(at).Format("2006-01-02 15:04:05") }

// flat replaces line breaks and runs of blanks.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

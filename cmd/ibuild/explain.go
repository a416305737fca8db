package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/ibuild/ibuild/frontends"
	"github.com/ibuild/ibuild/llb"
	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "say what changed since the last build, and what will run because of it",
		ArgsUsage: "[SOURCE|NAME]",
		Description: `For a SOURCE (the folder here by default) it says beforehand what a build would do now, compared with the last
one of the same name. Give the flags that you would give build. For the NAME of an image, and with --build,
it says why a build did what it did, compared with the one before it. No builder is asked.

   ibuild explain
   ibuild explain -t ghcr.io/me/train --platform linux/amd64,linux/arm64 image.yaml
   ibuild explain ghcr.io/me/train:v1
   ibuild explain --build 42

Signs: ~ changed, + new, - gone, > runs again because of a step before it, = as before.

Exit codes: 0 said, 2 usage, no such build, or something is wrong with the source, 3 credentials, 4 registry out of reach.`,
		Flags: slices.Concat([]cli.Flag{
			&cli.Uint64Flag{Name: "build", Usage: "`ID` of a build, as history lists it", DefaultText: "none"},
			formatFlag(),
			tagFlag(),
			noCacheFlag(),
			noLockFlag(),
		}, sourceFlags(), []cli.Flag{builderFlag()}),
		Action: runExplain,
	}
}

// formatFlag is for commands whose output programs read, too.
func formatFlag() cli.Flag {
	return &cli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT`: text or json"}
}

// explanation is what explain has to say.
type explanation struct {
	Name string `json:"name"`
	// Now is what a build would do; nil for a build that was.
	Now *outlook `json:"now,omitempty"`
	// Build is the build that is explained; nil for one that would be.
	Build *journal.Build `json:"build,omitempty"`
	// Before is what it is compared with; nil for a first build.
	Before *journal.Build `json:"before,omitempty"`
	// Diff is nil when one of the two graphs is not known: Unknown says why.
	Diff    *llb.GraphDiff `json:"diff,omitempty"`
	Unknown string         `json:"unknown,omitempty"`
}

// outlook is the engine's, as it is written down.
type outlook struct {
	How      engine.How    `json:"how"`
	Why      string        `json:"why"`
	Identity digest.Digest `json:"identity,omitempty"`
	Steps    int           `json:"steps"` // of all platforms
}

func runExplain(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	var e *explanation
	if c.IsSet("build") {
		e, err = explainBuild(c)
	} else {
		arg, aerr := oneArg(c, ".")
		switch {
		case aerr != nil:
			return aerr
		case frontends.Here(arg):
			e, err = explainSource(c, arg)
		default:
			e, err = explainName(c, arg)
		}
	}
	if err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(c.App.Writer, e)
	}
	return e.write(plainText{c.App.Writer}, time.Local)
}

// explainSource looks ahead.
func explainSource(c *cli.Context, arg string) (*explanation, error) {
	j, err := openSource(c, arg)
	if err != nil {
		return nil, err
	}
	defer j.close()
	if err := readNames(c, j.req.Plan, &j.req.Outputs); err != nil {
		return nil, err
	}
	log := journal.Open(j.cache)
	e := &explanation{Name: j.req.RecordName()}
	if last, ok := log.Newest(e.Name, j.req.Source, func(b journal.Build) bool { return b.GraphBlob != nil }); ok {
		e.Before = &last
	}
	if err := sameOutputs(&j.req.Outputs, e.Before); err != nil {
		return nil, err
	}
	now, err := j.engine("quiet", nil).Foresee(c.Context, j.req)
	if err != nil {
		return nil, err
	}
	e.lookAhead(log, now)
	return e, nil
}

// lookAhead sets what a build would do, and why.
func (e *explanation) lookAhead(log journal.Journal, now *engine.Outlook) {
	e.Now = &outlook{How: now.How, Why: now.Why, Identity: now.Identity}
	if now.Outline == nil {
		e.Unknown = "what is built is not known before it is"
		return
	}
	for _, img := range now.Outline.Images {
		e.Now.Steps += len(img.Steps)
	}
	if e.Before != nil {
		e.compare(log, now.Identity, now.Outline)
	}
}

// sameOutputs takes the result to where the last build took it; a first build is taken for a push.
func sameOutputs(out *engine.Outputs, last *journal.Build) (err error) {
	if last == nil {
		out.Push = len(out.Names)+len(out.ByIdentity) > 0
		return nil
	}
	out.Push = last.Pushed
	for _, t := range last.Exports {
		out.Exports = append(out.Exports, engine.Export{Type: engine.ExportType(t), Dest: "-"})
	}
	if len(out.Names)+len(out.ByIdentity) > 0 || !out.Push {
		return nil
	}
	names := last.Names
	if len(names) == 0 { // it failed before it had any
		names = []string{last.Name}
	}
	out.Names, err = parseNames(names)
	return err
}

// compare sets the difference between the build before and what is built now, with its identity.
func (e *explanation) compare(log journal.Journal, identity digest.Digest, now *llb.Outline) {
	if identity != "" && identity == e.Before.Identity {
		e.Diff = llb.Unchanged(now) // what is hidden is in the identity, too
		return
	}
	was, err := log.Outline(*e.Before)
	if err != nil {
		e.Unknown = fmt.Sprintf("build %d cannot be compared with: %v", e.Before.ID, err)
		return
	}
	e.Diff = llb.Diff(was, now)
}

// explainBuild looks back, at the build that --build names.
func explainBuild(c *cli.Context) (*explanation, error) {
	if c.NArg() > 0 {
		return nil, &usage{msg: "--build names a build, so there is no need for " + c.Args().First(), hint: "give one of them"}
	}
	h, err := wire(c)
	if err != nil {
		return nil, err
	}
	defer h.close()
	log := journal.Open(h.cache)
	b, err := findBuild(log, c.Uint64("build"))
	if err != nil {
		return nil, err
	}
	return lookBack(log, b)
}

// explainName looks back at the last build of an image.
func explainName(c *cli.Context, name string) (*explanation, error) {
	h, err := wire(c)
	if err != nil {
		return nil, err
	}
	defer h.close()
	log := journal.Open(h.cache)
	list, err := buildsOf(log, name, 1)
	if err != nil {
		return nil, err
	}
	b, err := findBuild(log, list[0].ID)
	if err != nil {
		return nil, err
	}
	return lookBack(log, b)
}

func lookBack(log journal.Journal, b journal.Build) (*explanation, error) {
	e := &explanation{Name: b.Name, Build: &b}
	now, err := log.Outline(b)
	if errors.Is(err, journal.ErrNoGraph) {
		e.Unknown = fmt.Sprintf("build %d cannot be compared: %v", b.ID, err)
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	if before, ok := log.Before(b); ok {
		e.Before = &before
		e.compare(log, b.Identity, now)
	}
	return e, nil
}

// write tells it to people, with times of a place.
func (e *explanation) write(w io.Writer, at *time.Location) error {
	if e.Build != nil {
		fmt.Fprintf(w, "%s of %s\n", buildText(e.Build, at), e.Name)
		if e.Build.Error != "" {
			fmt.Fprintf(w, "  %s\n", e.Build.Error)
		}
	}
	switch {
	case e.Unknown != "":
		fmt.Fprintln(w, e.Unknown)
	case e.Before == nil && e.Now != nil:
		fmt.Fprintf(w, "%s: there is no build to compare with: all %d steps are new\n", e.Name, e.Now.Steps)
	case e.Before == nil:
		fmt.Fprintln(w, "there is no build before it to compare with")
	case e.Diff.Same():
		fmt.Fprintf(w, "%s: nothing changed since %s\n", e.Name, buildText(e.Before, at))
	default:
		changed := "changed"
		if !e.Diff.Changed() {
			changed = "nothing that can be compared changed"
		}
		fmt.Fprintf(w, "%s: %s since %s\n", e.Name, changed, buildText(e.Before, at))
		if err := e.Diff.WriteText(w); err != nil {
			return err
		}
	}
	if e.Build != nil {
		return writeRan(w, e.Build)
	}
	_, err := fmt.Fprintf(w, "a build now: %s\n", e.Now)
	return err
}

// String is one line for people.
func (o *outlook) String() string {
	what := map[engine.How]string{
		engine.HowKnown: "nothing to do", engine.HowAssembled: "put together without a builder", engine.HowSolved: "a builder is asked",
	}[o.How]
	return what + " (" + o.Why + ")"
}

// shownSteps bounds the steps that are listed of a build; history lists all.
const shownSteps = 20

// writeRan lists the steps that were not in a cache.
func writeRan(w io.Writer, b *journal.Build) error {
	ran := slices.DeleteFunc(slices.Clone(b.Steps), func(s journal.Step) bool { return s.Cached })
	slices.SortStableFunc(ran, func(a, b journal.Step) int { return cmp.Compare(b.Took, a.Took) })
	fmt.Fprintf(w, "what it did: %d of %d steps ran, known: %d\n", b.StepCount-b.Cached, b.StepCount, b.Cached)
	for _, s := range ran[:min(len(ran), shownSteps)] {
		if _, err := fmt.Fprintf(w, "  %8s  %s\n", stepTime(s), flat(s.Name)); err != nil {
			return err
		}
	}
	if n := len(ran) - shownSteps; n > 0 {
		fmt.Fprintf(w, "  and %d more: ibuild history %d\n", n, b.ID)
	}
	return nil
}

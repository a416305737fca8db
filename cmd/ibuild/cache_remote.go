package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/registry"
	"github.com/urfave/cli/v2"
)

// environmentPrefix is how the tags of environments begin, see docs/cache.md.
const environmentPrefix = "ibuild-env-"

// pruneRemote removes environments of a repository that nothing is built on.
func (h *house) pruneRemote(c *cli.Context, arg string, opts cache.PruneOptions) error {
	named, err := reference.ParseNormalizedNamed(arg)
	if err != nil || !reference.IsNameOnly(named) {
		return &usage{msg: fmt.Sprintf("--remote: %s is no repository", arg), hint: "write [registry/]name without a tag, e.g. ghcr.io/me/train"}
	}
	repo := named.Name()
	all, err := h.registry.Environments(c.Context, repo, environmentPrefix)
	if err != nil {
		return err
	}
	now := time.Now()
	gone := slices.DeleteFunc(slices.Clone(all), func(e registry.Environment) bool { return keepReason(e, opts.OlderThan, now) != "" })
	out := plainText{c.App.Writer}
	if opts.DryRun {
		if err := writeEnvironments(out, all, opts.OlderThan, now); err != nil {
			return err
		}
	}
	question := fmt.Sprintf("%d of %d environments in %s, %s", len(gone), len(all), repo, cache.FormatSize(environmentsSize(gone)))
	switch {
	case len(gone) == 0:
		_, err := fmt.Fprintf(out, "nothing to remove: %d environments in %s are in use, younger than %s, or of unknown age\n", len(all), repo, ageText(now.Add(-opts.OlderThan), now))
		return err
	case opts.DryRun:
		_, err := fmt.Fprintf(out, "would remove %s\n", question)
		return err
	}
	yes, err := confirm(c, "Remove "+question+"?")
	if err != nil || !yes {
		return err
	}
	return h.removeEnvironments(c, repo, gone, all)
}

// removeEnvironments removes one after the other, until the registry does not take one.
func (h *house) removeEnvironments(c *cli.Context, repo string, gone, all []registry.Environment) error {
	out := plainText{c.App.Writer}
	stay := slices.DeleteFunc(slices.Clone(all), func(e registry.Environment) bool {
		return slices.ContainsFunc(gone, func(g registry.Environment) bool { return g.Tag == e.Tag })
	})
	var removed []registry.Environment
	var failed error
	for _, e := range gone {
		if failed = h.registry.DeleteEnvironment(c.Context, repo, e, stay); errors.Is(failed, registry.ErrNotFound) {
			failed = nil // somebody else was faster
			continue
		}
		if failed != nil {
			break
		}
		removed = append(removed, e)
		fmt.Fprintf(out, "removed %s:%s\n", repo, e.Tag)
	}
	fmt.Fprintf(out, "%s: removed %d of %d environments, at most %s of layers\n", repo, len(removed), len(all), cache.FormatSize(environmentsSize(removed)))
	return failed
}

// keepReason says why an environment stays, "" when it goes.
func keepReason(e registry.Environment, age time.Duration, now time.Time) string {
	switch {
	case len(e.UsedBy) > 0:
		return "used by " + strings.Join(e.UsedBy, ", ")
	case e.Time.IsZero():
		return "age not known"
	case now.Sub(e.Time) <= age:
		return "too young"
	}
	return ""
}

func environmentsSize(list []registry.Environment) (sum int64) {
	for _, e := range list {
		sum += e.Size
	}
	return sum
}

func writeEnvironments(w io.Writer, list []registry.Environment, age time.Duration, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TAG\tSIZE\tAGE\tSTAYS")
	for _, e := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", e.Tag, cache.FormatSize(e.Size), ageText(e.Time, now), first(llb.Short(keepReason(e, age, now), 60), "goes"))
	}
	return table.Flush()
}

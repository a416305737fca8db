package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/settings"
	"github.com/moby/buildkit/util/suggest"
	"github.com/urfave/cli/v2"
)

func cacheCommand() *cli.Command {
	return &cli.Command{
		Name:      "cache",
		Usage:     "list what is kept on this machine, and free its space",
		ArgsUsage: "COMMAND",
		Description: `ibuild keeps what it knows of builds, and the in-process engine keeps the layers that it made. All of it may go: the
next build is slower, and its result the same.

   ibuild cache du
   ibuild cache ls --kind blobs
   ibuild cache prune --older-than 7d
   ibuild cache prune --remote ghcr.io/me/train`,
		Subcommands: []*cli.Command{cacheListCommand(), cacheUsageCommand(), cachePruneCommand()},
		Action:      noCommand,
	}
}

// kindFlag chooses kinds of items. Those of the engine are in engineKinds.
func kindFlag() cli.Flag {
	var names []string
	for _, k := range allKinds() {
		names = append(names, string(k))
	}
	return &cli.StringSliceFlag{Name: "kind", Usage: "this `KIND` only; several are allowed: " + strings.Join(names, ", ")}
}

// allKinds are those of the cache and of the engine.
func allKinds() []cache.Kind {
	kinds := cache.Kinds()
	for _, k := range engineKinds() {
		kinds = append(kinds, k.kind)
	}
	return kinds
}

func readKinds(c *cli.Context) ([]cache.Kind, error) {
	var kinds []cache.Kind
	var names []string
	for _, k := range allKinds() {
		names = append(names, string(k))
	}
	for _, list := range c.StringSlice("kind") {
		for _, name := range strings.Split(list, ",") {
			if !slices.Contains(names, name) {
				hint := "there are " + strings.Join(names, ", ")
				if match, ok := suggest.Search(name, names, false); ok {
					hint = "did you mean " + match + "?"
				}
				return nil, &usage{msg: fmt.Sprintf("--kind: there is no kind %q", name), hint: hint}
			}
			kinds = append(kinds, cache.Kind(name))
		}
	}
	return kinds, nil
}

// readAge is the value of a flag that takes an age, 0 when it is not given.
func readAge(c *cli.Context, flag string) (time.Duration, error) {
	text := c.String(flag)
	if text == "" {
		return 0, nil
	}
	bad := &usage{msg: fmt.Sprintf("--%s cannot be %q", flag, text), hint: "write an age such as 12h, 7d or 2w"}
	for unit, hours := range map[string]float64{"d": 24, "w": 7 * 24} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseUint(number, 10, 16)
			if err != nil || n == 0 {
				return 0, bad
			}
			return time.Duration(float64(n) * hours * float64(time.Hour)), nil
		}
	}
	age, err := time.ParseDuration(text)
	if err != nil || age <= 0 {
		return 0, bad
	}
	return age, nil
}

// readSize is the value of a flag that takes a size, 0 when it is not given.
func readSize(c *cli.Context, flag string) (int64, error) {
	text := c.String(flag)
	if text == "" {
		return 0, nil
	}
	n, err := settings.ParseSize(text)
	if err != nil || n == 0 {
		return 0, &usage{msg: fmt.Sprintf("--%s cannot be %q", flag, text), hint: "write a size such as 500MB or 10GB"}
	}
	return n, nil
}

// ageText is how long ago something was, for people.
func ageText(at, now time.Time) string {
	age := now.Sub(at)
	switch {
	case at.IsZero():
		return "-"
	case age < time.Minute:
		return "now"
	case age < time.Hour:
		return fmt.Sprintf("%d min", age/time.Minute)
	case age < 48*time.Hour:
		return fmt.Sprintf("%d h", age/time.Hour)
	}
	return fmt.Sprintf("%d days", age/(24*time.Hour))
}

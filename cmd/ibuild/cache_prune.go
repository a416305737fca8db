package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ibuild/ibuild/cache"
	"github.com/urfave/cli/v2"
)

// pruneAge is how long something was not used when prune removes it by itself.
const pruneAge = 30 * 24 * time.Hour

func cachePruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "remove what is kept on this machine, or environment images of a repository",
		Description: `Without --all, --older-than and --keep-size it removes what was not used for 30 days. What a running build needs always
stays. In a terminal it asks first.

With --remote it removes images of environments (tags that begin with ibuild-env-) that no other tag's image of the repository
is built on, by the time of their push where the registry says it, else of their making. One without a known time stays.

   ibuild cache prune --dry-run
   ibuild cache prune --older-than 7d --keep-size 10GB
   ibuild cache prune --all --kind snapshots,mounts
   ibuild cache prune --remote ghcr.io/me/train --older-than 60d

Exit codes: 0 done, 1 something could not be removed, 2 usage, 3 credentials, 4 the engine's state or the registry is out of
reach.`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "remove everything"},
			&cli.StringFlag{Name: "older-than", Usage: "remove what was not used for this `AGE`: 12h, 7d, 2w"},
			&cli.StringFlag{Name: "keep-size", Usage: "remove what is least useful until the cache has no more than this `SIZE`, and the engine's state no more than that: 500MB, 10GB"},
			kindFlag(),
			&cli.StringFlag{Name: "remote", Usage: "remove environment images of this `REPOSITORY`, and nothing on this machine"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would go, and remove nothing"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "ask nothing"},
		}, engineFlags()...),
		Action: runCachePrune,
	}
}

func runCachePrune(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	opts, err := readPrune(c)
	if err != nil {
		return err
	}
	h, err := wire(c)
	if err != nil {
		return err
	}
	defer h.close()
	if repo := c.String("remote"); repo != "" {
		return h.pruneRemote(c, repo, opts)
	}
	state, err := h.openState(c.Context, opts.Kinds)
	if err != nil {
		return err
	}
	defer state.close()
	state.sayLocked("")
	return (&pruning{h: h, state: state, opts: opts, out: plainText{c.App.Writer}}).run(c)
}

// readPrune reads what may go.
func readPrune(c *cli.Context) (o cache.PruneOptions, err error) {
	if o.Kinds, err = readKinds(c); err != nil {
		return o, err
	}
	if o.OlderThan, err = readAge(c, "older-than"); err != nil {
		return o, err
	}
	if o.KeepSize, err = readSize(c, "keep-size"); err != nil {
		return o, err
	}
	o.All, o.DryRun = c.Bool("all"), c.Bool("dry-run")
	if o.All && (o.OlderThan > 0 || o.KeepSize > 0) {
		return o, &usage{msg: "--all removes everything, and --older-than and --keep-size do not", hint: "leave --all out"}
	}
	if c.String("remote") != "" && (o.All || o.KeepSize > 0 || len(o.Kinds) > 0) {
		return o, &usage{msg: "--remote goes with --older-than, --dry-run and --yes only"}
	}
	if !o.All && o.OlderThan == 0 && o.KeepSize == 0 {
		o.OlderThan = pruneAge
	}
	return o, nil
}

// pruning is one run of the command on this machine.
type pruning struct {
	h     *house
	state *engineState
	opts  cache.PruneOptions
	out   io.Writer
}

// ofCache says whether the kinds that were asked for are the cache's.
func (p *pruning) ofCache() bool {
	return len(p.opts.Kinds) == 0 || slices.ContainsFunc(cache.Kinds(), func(k cache.Kind) bool { return slices.Contains(p.opts.Kinds, k) })
}

func (p *pruning) run(c *cli.Context) error {
	cached, engine, err := p.plan()
	if err != nil {
		return err
	}
	would := append(slices.Clone(cached), engine...)
	if len(would) == 0 {
		_, err := fmt.Fprintln(p.out, "nothing to remove")
		return err
	}
	if p.opts.DryRun {
		if err := writeItems(c.App.Writer, would, time.Now()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.out, "would free %s (%s)\n", cache.FormatSize(sumUp(would).Size), countText(len(would)))
		return err
	}
	yes, err := confirm(c, fmt.Sprintf("Remove %s, %s?", countText(len(would)), cache.FormatSize(sumUp(would).Size)))
	if err != nil || !yes {
		return err
	}
	return p.remove(c.Context, len(cached) > 0, len(engine) > 0)
}

// plan finds out what would go.
func (p *pruning) plan() (cached, engine []cache.Item, err error) {
	if p.ofCache() {
		dry := p.opts
		dry.DryRun = true
		if cached, err = p.h.cache.Prune(dry); err != nil {
			return nil, nil, err
		}
	}
	if p.state.engine != nil {
		for _, u := range enginePrune(p.opts).Prunable(p.state.usage, time.Now()) {
			engine = append(engine, engineItem(&u))
		}
	}
	return cached, engine, nil
}

func (p *pruning) remove(ctx context.Context, cached, engine bool) error {
	var errs []error
	if cached {
		gone, err := p.h.cache.Prune(p.opts)
		errs = append(errs, err, p.freed("cache", p.h.cache.Dir(), gone))
	}
	if engine {
		removed, err := p.state.engine.Prune(ctx, enginePrune(p.opts))
		var gone []cache.Item
		for _, u := range removed {
			gone = append(gone, engineItem(&u))
		}
		errs = append(errs, err, p.freed("engine", p.state.root, gone))
	}
	return errors.Join(errs...)
}

func (p *pruning) freed(what, dir string, gone []cache.Item) error {
	_, err := fmt.Fprintf(p.out, "%s: freed %s (%s) in %s\n", what, cache.FormatSize(sumUp(gone).Size), countText(len(gone)), dir)
	return err
}

func countText(n int) string {
	if n == 1 {
		return "1 item"
	}
	return fmt.Sprintf("%d items", n)
}

// confirm asks a question in a terminal, unless --yes answers it. What is no terminal has nobody to ask: it is a yes.
func confirm(c *cli.Context, question string) (bool, error) {
	in, ok := c.App.Reader.(*os.File)
	if c.Bool("yes") || !ok || !terminal(in) {
		return true, nil
	}
	fmt.Fprint(plainText{c.App.ErrWriter}, question+" [y/N] ")
	const longest = 1 << 10
	answer, err := bufio.NewReader(io.LimitReader(in, longest)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	fmt.Fprintln(c.App.ErrWriter, "nothing was removed")
	return false, nil
}

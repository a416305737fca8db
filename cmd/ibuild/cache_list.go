package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/llb"
	"github.com/urfave/cli/v2"
)

func cacheListCommand() *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list what is kept: results, environments, blobs, facts, builds, and the in-process engine's layers",
		Description: `The largest come first. USED BY names the records, and the running processes, that need an item. A running process's
items are never removed.

Exit codes: 0 listed, 2 usage, 4 the engine's state cannot be opened.`,
		Flags:  append([]cli.Flag{formatFlag(), kindFlag()}, engineFlags()...),
		Action: runCacheList,
	}
}

func cacheUsageCommand() *cli.Command {
	return &cli.Command{
		Name:  "du",
		Usage: "sum up what is kept, by kind, and what could be freed",
		Description: `FREEABLE is what ibuild cache prune --all would remove: all that no running process needs.

Exit codes: 0 summed up, 2 usage, 4 the engine's state cannot be opened.`,
		Flags:  append([]cli.Flag{formatFlag()}, engineFlags()...),
		Action: runCacheUsage,
	}
}

// contents are what is kept in the cache and in the engine's state, the largest items first.
type contents struct {
	*house // the caller closes it
	items  []cache.Item
	state  *engineState
	json   bool // is asked for
}

// openContents lists what is kept, of the kinds that are asked for.
func openContents(c *cli.Context) (*contents, error) {
	if err := noArgs(c); err != nil {
		return nil, err
	}
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return nil, err
	}
	kinds, err := readKinds(c)
	if err != nil {
		return nil, err
	}
	h, err := wire(c)
	if err != nil {
		return nil, err
	}
	k := &contents{house: h, json: format == "json"}
	if err := k.list(c, kinds); err != nil {
		h.close()
		return nil, err
	}
	return k, nil
}

func (k *contents) list(c *cli.Context, kinds []cache.Kind) (err error) {
	if k.state, err = k.openState(c.Context, kinds); err != nil {
		return err
	}
	defer k.state.close()
	if k.items, err = k.cache.Items(); err != nil {
		return err
	}
	k.items = append(k.items, k.state.items()...)
	if len(kinds) > 0 {
		k.items = slices.DeleteFunc(k.items, func(i cache.Item) bool { return !slices.Contains(kinds, i.Kind) })
	}
	slices.SortStableFunc(k.items, func(a, b cache.Item) int { return cmp.Compare(b.Size, a.Size) })
	return nil
}

func runCacheList(c *cli.Context) error {
	k, err := openContents(c)
	if err != nil {
		return err
	}
	defer k.close()
	k.state.sayLocked("")
	if k.json {
		return writeJSON(c.App.Writer, append([]cache.Item{}, k.items...))
	}
	return writeItems(c.App.Writer, k.items, time.Now())
}

// writeItems writes a table for people.
func writeItems(w io.Writer, items []cache.Item, now time.Time) error {
	table := tabwriter.NewWriter(plainText{w}, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KIND\tSIZE\tLAST USED\tNAME\tABOUT\tUSED BY")
	for _, i := range items {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", i.Kind, cache.FormatSize(i.Size), ageText(i.Used, now), shortName(i.Name), llb.Short(i.Text, 60), shortName(strings.Join(i.UsedBy, ", ")))
	}
	return table.Flush()
}

// shortName cuts digests in a text to what tells them apart for people.
func shortName(text string) string {
	const shown = 12
	words := strings.Fields(text)
	for n, w := range words {
		if _, hex, ok := strings.Cut(w, ":"); ok && len(hex) >= 64 {
			words[n] = hex[:shown] + strings.TrimLeft(hex[64:], "0123456789abcdef")
		} else if len(w) == 64 && !strings.ContainsFunc(w, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) {
			words[n] = w[:shown]
		}
	}
	return llb.Short(strings.Join(words, " "), 80)
}

// kindUsage is the sum of one kind. Sizes are in bytes.
type kindUsage struct {
	Kind     cache.Kind `json:"kind"`
	Count    int        `json:"count"`
	Size     int64      `json:"size"`
	Freeable int64      `json:"freeable"`
}

// spaceUsage is what du has to say.
type spaceUsage struct {
	Cache      string      `json:"cache"`      // the folder
	CacheLimit int64       `json:"cacheLimit"` // bytes
	Engine     string      `json:"engine"`     // the folder of the in-process engine's state
	EngineBusy bool        `json:"engineBusy"` // another process uses it, so it is not summed up
	Kinds      []kindUsage `json:"kinds"`
	Size       int64       `json:"size"`
	Freeable   int64       `json:"freeable"`
}

func runCacheUsage(c *cli.Context) error {
	k, err := openContents(c)
	if err != nil {
		return err
	}
	defer k.close()
	u := sumUp(k.items)
	u.Cache, u.CacheLimit, u.Engine, u.EngineBusy = k.cache.Dir(), k.cache.MaxSize(), k.state.root, k.state.locked != nil
	if k.json {
		return writeJSON(c.App.Writer, u)
	}
	k.state.sayLocked("")
	return u.write(plainText{c.App.Writer})
}

func sumUp(items []cache.Item) *spaceUsage {
	u := &spaceUsage{Kinds: []kindUsage{}}
	for _, i := range items {
		n := slices.IndexFunc(u.Kinds, func(k kindUsage) bool { return k.Kind == i.Kind })
		if n < 0 {
			n, u.Kinds = len(u.Kinds), append(u.Kinds, kindUsage{Kind: i.Kind})
		}
		k := &u.Kinds[n]
		k.Count, k.Size, u.Size = k.Count+1, k.Size+i.Size, u.Size+i.Size
		if !i.InUse && i.Kind != cache.KindIndex {
			k.Freeable, u.Freeable = k.Freeable+i.Size, u.Freeable+i.Size
		}
	}
	slices.SortStableFunc(u.Kinds, func(a, b kindUsage) int { return cmp.Compare(b.Size, a.Size) })
	return u
}

func (u *spaceUsage) write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KIND\tITEMS\tSIZE\tFREEABLE")
	for _, k := range u.Kinds {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", k.Kind, k.Count, cache.FormatSize(k.Size), cache.FormatSize(k.Freeable))
	}
	fmt.Fprintf(table, "all\t\t%s\t%s\n", cache.FormatSize(u.Size), cache.FormatSize(u.Freeable))
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "cache:  %s, at most %s\nengine: %s\n", u.Cache, cache.FormatSize(u.CacheLimit), u.Engine)
	return err
}

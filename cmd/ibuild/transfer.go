package main

import (
	"fmt"
	"io"
	"time"

	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
)

// transferFlags are those of all commands that bring images from one place to another.
func transferFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "platform", Usage: "take the image for this `OS/ARCH` only; several are allowed, also with commas"},
		&cli.BoolFlag{Name: "all", Usage: "take the images for all platforms, which is what happens without --platform"},
		&cli.BoolFlag{Name: "json", Usage: "write what was done to standard output, as JSON"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the digest only"},
		progressFlag(),
	}
}

// transfer is a command that brings images from one place to another.
type transfer struct {
	c         *cli.Context
	house     *house
	mode      string // of progress
	platforms []ocispecs.Platform
	traffic   *registry.Traffic // while it runs

	archiveOut bool // an archive goes to standard output
	images     []broughtImage
	notes      []string // of what does not come along
}

// broughtImage is the JSON of an image that was brought somewhere.
type broughtImage struct {
	Source      string        `json:"source"`
	Destination string        `json:"destination"`
	Digest      digest.Digest `json:"digest"`
	MediaType   string        `json:"mediaType"`
}

// newTransfer reads the flags that all such commands have.
func newTransfer(c *cli.Context) (*transfer, error) {
	if err := checkProgress(c); err != nil {
		return nil, err
	}
	t := &transfer{c: c, mode: progressMode(c), images: []broughtImage{}}
	var err error
	if t.platforms, err = parsePlatforms(c.StringSlice("platform")); err != nil {
		return nil, err
	}
	switch {
	case c.Bool("all") && len(t.platforms) > 0:
		return nil, &usage{msg: "--all and --platform are opposites", hint: "leave one of them out"}
	case c.Bool("json") && c.Bool("quiet"):
		return nil, &usage{msg: "--json and --quiet both want standard output", hint: "leave one of them out"}
	}
	return t, nil
}

// run does the work, shows it, and says what was done.
func (t *transfer) run(name string, work func() error) error {
	begun := time.Now()
	moved, err := t.shown(name, work)
	if err != nil {
		return err
	}
	for _, n := range t.notes {
		say(t.mode, "note: %s", n)
	}
	for _, img := range t.images {
		say(t.mode, "%s: %s", img.Destination, img.Digest)
	}
	say(t.mode, "done, in %s", time.Since(begun).Round(time.Millisecond))
	sayNetwork(t.mode, moved)
	return t.write(t.c.App.Writer, moved)
}

// shown does the work and shows how it gets on.
func (t *transfer) shown(name string, work func() error) (registry.Transferred, error) {
	if t.mode == "quiet" { // the display would still show a step that fails
		t.traffic = &registry.Traffic{}
		err := work()
		return t.traffic.Now(), err
	}
	d, err := show(t.c.Context, t.mode)
	if err != nil {
		return registry.Transferred{}, err
	}
	defer d.close()
	return d.progress.Transfer(name, func(traffic *registry.Traffic) error {
		t.traffic = traffic
		return work()
	})
}

// write writes what programs want to know.
func (t *transfer) write(w io.Writer, moved registry.Transferred) error {
	switch {
	case t.archiveOut: // standard output has the images
		return nil
	case t.c.Bool("json"):
		return writeJSON(w, struct {
			Images  []broughtImage `json:"images"`
			Network network        `json:"network"`
		}{t.images, newNetwork(moved)})
	case !t.c.Bool("quiet"):
		return nil
	}
	said := map[digest.Digest]bool{}
	for _, img := range t.images {
		if said[img.Digest] {
			continue
		}
		said[img.Digest] = true
		if _, err := fmt.Fprintln(w, img.Digest); err != nil {
			return err
		}
	}
	return nil
}

// pack reads an image's documents, and notes what does not come along.
func (t *transfer) pack(src registry.Source) (*registry.Parcel, error) {
	parcel, err := registry.Pack(t.c.Context, src, t.platforms)
	if err != nil {
		return nil, err
	}
	if n := len(parcel.Left); n > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%d entries of the index of %s were left out", n, src.Name()))
	}
	if n := len(parcel.Elsewhere); n > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%d layers of %s are fetched from servers of their own and stay there", n, src.Name()))
	}
	return parcel, nil
}

// brought notes an image that is where it should be.
func (t *transfer) brought(from, to string, parcel *registry.Parcel) {
	root := parcel.Root()
	t.images = append(t.images, broughtImage{from, to, root.Digest, root.MediaType})
}

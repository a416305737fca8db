package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/registry"
	"github.com/urfave/cli/v2"
)

func loadCommand() *cli.Command {
	return &cli.Command{
		Name:      "load",
		Usage:     "push the images of an archive or folder to registries",
		ArgsUsage: "[NAME…]",
		Description: `ibuild has no daemon that images could be loaded into: they are pushed, under the names given here, or else under
those that the archive has. It may be an OCI layout (a folder or an archive), or what docker save writes.

   ibuild load -i train.tar                              under the names in the archive
   ibuild load -i train.tar ghcr.io/me/train:v1          under this name
   docker save train:v1 | ibuild load -i - ghcr.io/me/train:v1

Digests stay as they are. Archives of docker before version 25 have no digests: their layers are compressed with
gzip, the same way each time. Standard input is kept in the cache folder meanwhile, and removed at the end.

Exit codes: 0 pushed, 1 not pushed, 2 usage, or the file holds no image, 3 credentials, 4 a registry is out of reach.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "`FILE` or folder to read, - for standard input"},
		}, transferFlags()...),
		Action: runLoad,
	}
}

func runLoad(c *cli.Context) error {
	t, err := newTransfer(c)
	if err != nil {
		return err
	}
	in := c.String("input")
	switch {
	case in == "":
		return &usage{msg: "the file to read is missing", hint: "add -i FILE, or -i - for standard input"}
	case in == "-" && isTerminal(c.App.Reader):
		return &usage{msg: "standard input is a terminal, and no archive", hint: "write -i FILE, or send an archive: docker save IMAGE | ibuild load -i - NAME"}
	}
	var names []imagePlace
	if c.NArg() > 0 {
		args, err := someArgs(c, "")
		if err != nil {
			return err
		}
		for _, a := range args {
			p, err := parseDestination(a)
			if err != nil {
				return err
			}
			if p.kind != "" {
				return &usage{msg: a + " is no registry's, and load pushes to registries", hint: "ibuild copy takes any destination"}
			}
			names = append(names, p)
		}
	}
	if t.house, err = wire(c); err != nil {
		return err
	}
	defer t.house.close()
	return t.run("load "+in, func() error { return t.load(in, names) })
}

func (t *transfer) load(in string, names []imagePlace) error {
	l, err := t.openInput(in)
	if err != nil {
		return noImage(err)
	}
	defer l.Close()
	list := l.Images()
	if len(list) == 0 {
		return &usage{msg: l.Name() + " holds no image"}
	}
	if len(names) > 0 && len(list) > 1 {
		return &usage{msg: fmt.Sprintf("%s holds %d images, and the names that are given would be those of all", l.Name(), len(list)),
			hint: "leave the names out, or bring one image: ibuild copy oci-archive:FILE:TAG NAME"}
	}
	targets := make([][]imagePlace, len(list))
	for i, img := range list { // all of them before anything is pushed
		if targets[i], err = namesOf(l.Name(), img, names); err != nil {
			return err
		}
	}
	for i, img := range list {
		if err := t.loadImage(l, img, targets[i]); err != nil {
			return err
		}
	}
	return nil
}

// namesOf are the names that an image of an archive is pushed under.
func namesOf(file string, img registry.LayoutImage, given []imagePlace) ([]imagePlace, error) {
	if len(given) > 0 {
		return given, nil
	}
	var out []imagePlace
	for _, n := range img.Names {
		named, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			return nil, &usage{msg: fmt.Sprintf("%s: the name %q: %v", file, n, err)}
		}
		if _, digested := named.(reference.Digested); digested {
			continue
		}
		out = append(out, imagePlace{text: n, ref: reference.TagNameOnly(named)})
	}
	if len(out) == 0 {
		return nil, &usage{msg: file + " has an image without a name", hint: "say which it gets: ibuild load -i " + file + " REGISTRY/NAME:TAG"}
	}
	return out, nil
}

func (t *transfer) loadImage(l *registry.Layout, img registry.LayoutImage, to []imagePlace) error {
	ctx := t.c.Context
	src, err := t.house.registry.FromLayout(ctx, l, img)
	if err != nil {
		return noImage(err)
	}
	parcel, err := t.pack(src)
	if err != nil {
		return err
	}
	for _, p := range to {
		if err := p.put(ctx, t.house, parcel, t.traffic); err != nil {
			return err
		}
		t.brought(src.Name(), p.ref.String(), parcel)
	}
	return nil
}

// openInput opens the archive or folder. Standard input can be read once only, so it is kept in a file that has no name.
func (t *transfer) openInput(in string) (*registry.Layout, error) {
	if in != "-" {
		return registry.OpenLayout(in)
	}
	f, err := os.CreateTemp(t.house.cache.Dir(), "load-")
	if err != nil {
		return nil, err
	}
	if err = os.Remove(f.Name()); err == nil {
		err = spool(t.c.Context, f, t.c.App.Reader)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return registry.OpenArchive("standard input", f)
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && terminal(f)
}

// spool copies until the end, or until ctx is done: a read from a pipe cannot be ended.
func spool(ctx context.Context, to io.Writer, from io.Reader) error {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, from)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

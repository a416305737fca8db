package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/imagelock"
	"github.com/urfave/cli/v2"
)

func lockCommand() *cli.Command {
	return &cli.Command{
		Name:      "lock",
		Usage:     "pin the base and helper images of a source to digests",
		ArgsUsage: "SOURCE",
		Description: `It writes ibuild.lock next to the source. Builds take the digests from there and ask for no tags; --no-lock
ignores them. All sources of a folder share the file. Digests that are there stay until --update.

   ibuild lock image.yaml
   ibuild lock --update image.yaml
   ibuild lock --check image.yaml

Exit codes: 0 written, or with --check up to date, 1 --check: a tag has moved or an image is not in the lock, 2 usage,
or something is wrong with the source, 3 credentials, 4 registry out of reach.`,
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "update", Usage: "take the digests that the tags point to now"},
			&cli.BoolFlag{Name: "check", Usage: "compare with what the tags point to now, and write nothing"},
		}, sourceFlags(), []cli.Flag{builderFlag()}),
		Action: runLock,
	}
}

func runLock(c *cli.Context) error {
	update, check := c.Bool("update"), c.Bool("check")
	if update && check {
		return &usage{msg: "--check writes nothing, so there is nothing to --update", hint: "give one of them"}
	}
	j, err := open(c)
	if err != nil {
		return err
	}
	defer j.close()
	if j.file == "" {
		return &usage{msg: "there is no file that the lock could be next to", hint: "give the file; what comes from standard input cannot be locked"}
	}
	lock, err := imagelock.Read(j.dir)
	if err != nil {
		return err
	}
	if update || check {
		j.req.Pins = nil // the tags are what is asked for
	}
	images, err := j.images(c.Context)
	if err != nil {
		return err
	}
	if check {
		return checkLock(c.App.Writer, lock, j.file, images)
	}
	return writeLock(c.App.Writer, lock, lock.With(j.file, images, update))
}

// images are those that the source names by tags.
func (j *job) images(ctx context.Context) ([]imagelock.Image, error) {
	found, err := j.engine("quiet", nil).Images(ctx, j.req)
	var list []imagelock.Image
	for _, img := range found {
		list = append(list, imagelock.Image{Name: img.Name, Digest: img.Digest})
	}
	return list, err
}

// checkLock tells what is not as the lock says. An entry that is not used any more does no harm.
func checkLock(w io.Writer, lock imagelock.Lock, source string, images []imagelock.Image) error {
	bad := false
	for _, d := range lock.Differences(source, images) {
		fmt.Fprintln(w, describe(d, "missing", "unused"))
		bad = bad || d.Now != ""
	}
	if bad {
		fmt.Fprintf(w, "%s is not up to date: ibuild lock adds what is missing, --update moves what has moved\n", lock.File)
		return &childExit{code: exitBuild}
	}
	return nil
}

// describe says what one difference is: fresh and gone are the words for an image that only one side has.
func describe(d imagelock.Difference, fresh, gone string) string {
	switch {
	case d.Locked == "":
		return fmt.Sprintf("%-8s %s is %s", fresh, d.Name, d.Now)
	case d.Now == "":
		return fmt.Sprintf("%-8s %s", gone, d.Name)
	}
	return fmt.Sprintf("moved    %s from %s to %s", d.Name, d.Locked, d.Now)
}

// writeLock writes the file where that changes it, and tells what changed.
func writeLock(w io.Writer, old, now imagelock.Lock) error {
	data, err := now.Bytes()
	if err != nil {
		return err
	}
	before, err := os.ReadFile(now.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch pins := now.Pins(); {
	case len(pins) == 0 && !old.Exists:
		fmt.Fprintln(w, "nothing to pin: the source names no image by a tag")
		return nil
	case old.Exists && bytes.Equal(before, data):
		fmt.Fprintf(w, "%s has it all: %d images\n", now.File, len(pins))
		return nil
	}
	if err := engine.WriteFile(now.File, data); err != nil {
		return err
	}
	for _, d := range old.Changes(now) {
		fmt.Fprintln(w, describe(d, "added", "dropped"))
	}
	fmt.Fprintf(w, "wrote %s: %d images\n", now.File, len(now.Pins()))
	return nil
}

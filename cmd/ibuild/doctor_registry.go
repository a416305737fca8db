package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/registry"
	"github.com/urfave/cli/v2"
)

func doctorFlags() []cli.Flag {
	return []cli.Flag{&cli.StringSliceFlag{Name: "try-push", Usage: "try a push to `REPOSITORY`, several are allowed: an upload is begun, gets some bytes, and is given up, so nothing is left there"}}
}

// readTries reads the repositories that pushes are tried to.
func readTries(c *cli.Context) ([]reference.Named, error) {
	var list []reference.Named
	for _, text := range c.StringSlice("try-push") {
		named, err := reference.ParseNormalizedNamed(text)
		if err != nil || !reference.IsNameOnly(named) {
			return nil, &usage{msg: fmt.Sprintf("--try-push %s is not a repository", text), hint: "write [registry/]name in lower case and without a tag, e.g. ghcr.io/me/train"}
		}
		list = append(list, named)
	}
	return list, nil
}

// push tries what a push to a repository would meet.
func (d *checkup) push(ctx context.Context, h *house, repo reference.Named) {
	t, err := h.registry.Try(ctx, repo.Name())
	if err != nil {
		d.fail("push", err)
		return
	}
	who := "without credentials"
	if t.Credentials {
		who = "with the credentials of " + t.Host
	}
	d.ok("push", "%s may be pushed to, %s", repo.Name(), who)
	if !t.Asks {
		d.note("blobs", "questions whether it has a blob are not answered, so every blob is sent")
	}
	if !t.Mounts {
		d.note("mounts", "it refuses to take blobs over from other repositories, so they are sent")
	}
	d.uploads(t)
	if !t.Gone {
		d.note("uploads", "whether an upload that was given up is gone cannot be seen; registries remove those by themselves")
	}
	d.ok("profile", "%s (%s)", profileText(t.Profile), t.Why)
}

// uploads says what becomes of an upload that is cut.
func (d *checkup) uploads(t registry.Trial) {
	least := ""
	if t.Least > 0 {
		least = ", of " + cache.FormatSize(t.Least) + " or more"
	}
	switch {
	case errors.Is(t.Chunks, registry.ErrUntried):
		d.note("uploads", "it wants chunks%s: that was not tried", least)
	case t.Chunks != nil:
		_, why, _ := explain(t.Chunks)
		d.note("uploads", "a blob goes up in one request, and is sent anew when that is cut: it takes no chunks (%s)", why)
	case !t.Resumes:
		d.note("uploads", "it takes chunks%s, and does not say how much of them it has: what is cut is sent anew", least)
	case !t.Profile.Resume:
		d.note("uploads", "it takes chunks%s, and says how much of them it has; the profile has it that uploads begin anew all the same", least)
	default:
		d.ok("uploads", "it takes chunks%s, and says how much of them it has: what is cut can go on from there", least)
	}
}

func profileText(p registry.Profile) string {
	parts := []string{fmt.Sprintf("%d small blobs at a time", p.Parallel)}
	if p.Chunk > 0 {
		parts = append(parts, "in chunks of "+cache.FormatSize(p.Chunk))
	}
	for _, s := range []struct {
		is   bool
		text string
	}{{!p.Resume, "uploads are not resumed"}, {!p.Mount, "nothing is mounted"}, {p.Compression != "", "layers are " + p.Compression}} {
		if s.is {
			parts = append(parts, s.text)
		}
	}
	return strings.Join(parts, ", ")
}

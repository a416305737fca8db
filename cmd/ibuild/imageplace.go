package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/distribution/reference"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/registry"
)

// The places of images that are not registries, as skopeo writes them.
const (
	layoutPlace        = "oci"
	ociArchivePlace    = "oci-archive"
	dockerArchivePlace = "docker-archive"
)

const placeHint = "write a name such as ghcr.io/me/train:v1, oci:FOLDER[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]"

// imagePlace is where an image is, or goes to.
type imagePlace struct {
	text string          // as it was written
	kind string          // one of the constants; "" is a registry
	path string          // of a folder or file
	name string          // in it, may be ""
	ref  reference.Named // in a registry, with a tag or digest
}

func parsePlace(text string) (imagePlace, error) {
	for _, kind := range []string{layoutPlace, ociArchivePlace, dockerArchivePlace} {
		rest, ok := strings.CutPrefix(text, kind+":")
		if !ok {
			continue
		}
		path, name, _ := strings.Cut(rest, ":")
		if path == "" {
			return imagePlace{}, &usage{msg: text + " names no file or folder", hint: placeHint}
		}
		return imagePlace{text: text, kind: kind, path: path, name: name}, nil
	}
	text, _ = strings.CutPrefix(text, "docker://") // skopeo's word for a registry
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return imagePlace{}, &usage{msg: fmt.Sprintf("%s: %v", text, err), hint: placeHint}
	}
	return imagePlace{text: text, ref: reference.TagNameOnly(named)}, nil
}

// parseDestination is parsePlace for what is written to.
func parseDestination(text string) (imagePlace, error) {
	p, err := parsePlace(text)
	if err != nil {
		return p, err
	}
	named := p.ref
	if p.name != "" {
		if p.kind != dockerArchivePlace && reference.TagRegexp.FindString(p.name) == p.name {
			return p, nil // a tag of one word
		}
		if named, err = reference.ParseNormalizedNamed(p.name); err != nil {
			return p, &usage{msg: fmt.Sprintf("%s: %v", text, err), hint: nameHint}
		}
	}
	if _, digested := named.(reference.Digested); digested {
		return p, &usage{msg: text + ": an image is copied to a tag, not to a digest", hint: "write it with a tag; the digest stays the same"}
	}
	return p, nil
}

// open opens an image. The caller calls done after the last use of it.
func (p imagePlace) open(ctx context.Context, h *house, t *registry.Traffic) (src registry.Source, done func(), err error) {
	if p.kind == "" {
		src, err = h.registry.Image(ctx, p.ref.String(), t)
		return src, func() {}, err
	}
	l, err := registry.OpenLayout(p.path)
	if err != nil {
		return nil, nil, noImage(err)
	}
	done = func() { _ = l.Close() } // it was read only
	img, err := l.Find(p.name)
	if err == nil {
		src, err = h.registry.FromLayout(ctx, l, img)
	}
	if err != nil {
		done()
		return nil, nil, noImage(err)
	}
	return src, done, nil
}

// noImage is what is wrong with a file or folder that was named.
func noImage(err error) error {
	var layout *registry.LayoutError
	if errors.As(err, &layout) || errors.Is(err, fs.ErrNotExist) {
		return &usage{msg: err.Error(), hint: "give an OCI layout, or an archive as ibuild save and docker save write it; TAG chooses one of several images"}
	}
	return err
}

// put brings an image to its place.
func (p imagePlace) put(ctx context.Context, h *house, parcel *registry.Parcel, t *registry.Traffic) error {
	var names []string
	if p.name != "" {
		names = []string{p.name}
	}
	delivery := registry.Delivery{Parcel: parcel, Names: names}
	switch p.kind {
	case layoutPlace:
		return noImage(registry.WriteLayout(ctx, p.path, delivery, t))
	case ociArchivePlace:
		return writeArchive(ctx, p.path, registry.ArchiveOCI, []registry.Delivery{delivery}, t)
	case dockerArchivePlace:
		return writeArchive(ctx, p.path, registry.ArchiveDocker, []registry.Delivery{delivery}, t)
	}
	return h.registry.Push(ctx, registry.Upload{Repository: p.ref.Name(), Blobs: parcel.Blobs, Manifests: parcel.Manifests, Tags: []string{p.ref.String()}, Traffic: t})
}

// writeArchive writes a file that is there at the end, or not at all.
func writeArchive(ctx context.Context, name string, format registry.ArchiveFormat, list []registry.Delivery, t *registry.Traffic) error {
	f, err := engine.CreateFile(name)
	if err != nil {
		return err
	}
	defer f.Discard()
	err = registry.WriteImages(ctx, f, format, list, t)
	var refused *registry.ArchiveError
	if errors.As(err, &refused) {
		return &usage{msg: refused.Msg, hint: refused.Hint}
	}
	if err != nil {
		return err
	}
	return f.Commit()
}

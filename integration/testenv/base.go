package testenv

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ibuild/ibuild/integration/bases"
)

// Base is a base image that builds can use.
type Base struct {
	Name   string  // what a Dockerfile says, such as "debian:bookworm"
	Ref    string  // where it is: in the environment's registry, or the real name
	Digest v1.Hash // of the image index; zero when it is a real one
}

// Bases lists one name of each base image that can stand in for a real one, but those that take many minutes
// to make and have not been made: ask for these by their names.
func (e *Env) Bases() []string { return e.bases.Names() }

// Base returns a base image by the name that a build would use, such as
// "python:3.11-slim" or "ghcr.io/astral-sh/uv:0.13.9". The first call on a
// machine makes the image, the first call in an environment pushes it; the
// mirrors in the settings of ibuild and buildkitd lead to it.
//
// Where the real registries are used, it just returns the name.
func (e *Env) Base(ctx context.Context, image string) (Base, error) {
	if !e.StandIns {
		return Base{Name: image, Ref: image}, nil
	}
	made, err := e.bases.Image(ctx, image)
	if err != nil {
		return Base{}, err
	}
	digest, err := made.Index.Digest()
	if err != nil {
		return Base{}, err
	}
	if err := e.push(ctx, made); err != nil {
		return Base{}, fmt.Errorf("push base image %s: %w", image, err)
	}
	ref, err := e.mirrored(image)
	if err != nil {
		return Base{}, err
	}
	return Base{Name: image, Ref: ref.Name(), Digest: digest}, nil
}

// BaseAs returns a base image and lets builds find it under another name, too:
// where what stands in for a program has another version than the one that
// ibuild asks for, the test says so by calling this. Where the real registries
// are used, as is what builds get.
func (e *Env) BaseAs(ctx context.Context, image, as string) (Base, error) {
	if !e.StandIns {
		return Base{Name: as, Ref: as}, nil
	}
	base, err := e.Base(ctx, image)
	if err != nil {
		return Base{}, err
	}
	made, err := e.bases.Image(ctx, image)
	if err != nil {
		return Base{}, err
	}
	ref, err := e.mirrored(as)
	if err != nil {
		return Base{}, err
	}
	err = remote.WriteIndex(ref, made.Index, remote.WithContext(ctx), remote.WithTransport(e.Registry.direct))
	return Base{Name: as, Ref: ref.Name(), Digest: base.Digest}, err
}

// push puts an image under all its names, once. Two callers may both do so,
// which does no harm.
func (e *Env) push(ctx context.Context, image *bases.Image) error {
	if e.isPushed(image.Names[0]) {
		return nil
	}
	begin := time.Now()
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(e.Registry.direct)}
	for i, n := range image.Names {
		ref, err := e.mirrored(n)
		if err != nil {
			return err
		}
		if i == 0 {
			err = remote.WriteIndex(ref, image.Index, options...)
		} else {
			err = remote.Tag(ref, image.Index, options...)
		}
		if err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pushed[image.Names[0]] = true
	e.logf("pushed base image %s in %s", image.Names[0], time.Since(begin).Round(time.Millisecond))
	return nil
}

func (e *Env) isPushed(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pushed[name]
}

// mirrored is the name under which the registry, as a mirror, has an image:
// the same repository, another host.
func (e *Env) mirrored(image string) (name.Tag, error) {
	tag, err := name.NewTag(image)
	if err != nil {
		return name.Tag{}, err
	}
	mirror, err := name.NewRegistry(e.Registry.Addr, name.Insecure)
	return mirror.Repo(tag.RepositoryStr()).Tag(tag.TagStr()), err
}

package bases

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sync/errgroup"
)

// version counts changes of this package that change the images.
const version = 1

// Image is a base image for all platforms.
type Image struct {
	Names []string // full names with tags, the same image under each
	Index v1.ImageIndex
}

// Store makes base images and keeps them in a folder.
type Store struct {
	dir     string
	temp    string
	log     io.Writer
	recipes func() []*recipe // asks apt, which takes a while, and only once
}

// Open returns the store in the folder dir, which need not exist. Images are
// made in the folder temp, which other users must be able to enter. It writes
// to log what it makes and how long that took.
func Open(dir, temp string, log io.Writer) *Store {
	return &Store{dir: dir, temp: temp, log: log, recipes: sync.OnceValue(recipes)}
}

// Names lists one name of each image that there is; of those that take many minutes to make only what has been
// made already.
func (s *Store) Names() []string {
	var names []string
	for _, r := range s.recipes() {
		if _, err := os.Stat(s.layout(r)); err == nil || !r.slow {
			names = append(names, r.names[0])
		}
	}
	return names
}

// layout is the folder that keeps the image of a recipe.
func (s *Store) layout(r *recipe) string { return filepath.Join(s.dir, r.title+"-"+r.key()) }

// UnknownError says that nothing stands in for an image.
type UnknownError struct {
	Name  string
	Known []string
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("no base image %q; there are %s", e.Name, strings.Join(e.Known, ", "))
}

// Image returns the image that a name such as "debian:bookworm" stands for,
// and makes it first if no process has done so before.
func (s *Store) Image(ctx context.Context, image string) (*Image, error) {
	r, err := s.find(image)
	if err != nil {
		return nil, err
	}
	index, err := s.index(ctx, r)
	if err != nil {
		return nil, err
	}
	return &Image{Names: r.names, Index: index}, nil
}

func (s *Store) find(image string) (*recipe, error) {
	wanted, err := fullName(image)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, r := range s.recipes() {
		for _, n := range r.names {
			full, err := fullName(n)
			if err != nil {
				return nil, err
			}
			if full == wanted {
				return r, nil
			}
			known = append(known, n)
		}
	}
	return nil, &UnknownError{Name: image, Known: known}
}

// fullName spells out the registry and the tag that a short name means.
func fullName(image string) (string, error) {
	tag, err := name.NewTag(image)
	if err != nil {
		return "", err
	}
	return tag.Name(), nil
}

// index loads the image of a recipe from its layout, or makes that.
func (s *Store) index(ctx context.Context, r *recipe) (v1.ImageIndex, error) {
	dir := s.layout(r)
	if _, err := os.Stat(dir); err == nil {
		return load(dir)
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	lock := flock.New(dir + ".lock")
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return nil, fmt.Errorf("wait for another process that makes %s: %w", r.title, err)
	}
	defer lock.Close()
	if _, err := os.Stat(dir); err == nil {
		return load(dir)
	}
	if err := s.make(ctx, r, dir); err != nil {
		return nil, fmt.Errorf("make base image %s: %w", r.names[0], err)
	}
	return load(dir)
}

// make writes the layout beside its place and moves it there when it is whole.
func (s *Store) make(ctx context.Context, r *recipe, dir string) (err error) {
	images := make([]v1.Image, len(platforms()))
	group, ctx := errgroup.WithContext(ctx)
	for i, platform := range platforms() {
		kitchen, kitchenErr := newKitchen(s.temp)
		if kitchenErr != nil {
			return errors.Join(kitchenErr, group.Wait())
		}
		// Layers are read from there until the layout is written.
		defer func() { err = errors.Join(err, kitchen.clean()) }()
		group.Go(func() (err error) {
			images[i], err = s.makeFor(ctx, r, kitchen, platform)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	index := v1.ImageIndex(empty.Index)
	for i, platform := range platforms() {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: images[i], Descriptor: v1.Descriptor{Platform: &platform},
		})
	}
	temp := dir + ".part"
	if err := os.RemoveAll(temp); err != nil { // of a process that was killed; the lock is ours
		return err
	}
	if err := save(temp, r.names[0], index); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return os.Rename(temp, dir)
}

// makeFor makes an image for one platform.
func (s *Store) makeFor(ctx context.Context, r *recipe, k *kitchen, platform v1.Platform) (v1.Image, error) {
	from, err := s.base(ctx, r, platform)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	fmt.Fprintf(s.log, "making base image %s for %s (once)\n", r.names[0], platform)
	image, err := r.make(ctx, k, platform, from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", platform, err)
	}
	fmt.Fprintf(s.log, "made %s for %s in %s\n", r.names[0], platform, time.Since(begin).Round(100*time.Millisecond))
	return image, nil
}

// base is the image that a recipe starts from, nil when that is scratch.
func (s *Store) base(ctx context.Context, r *recipe, platform v1.Platform) (v1.Image, error) {
	if r.from == nil {
		return nil, nil
	}
	index, err := s.index(ctx, r.from)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if m.Platform.Equals(platform) {
			return index.Image(m.Digest)
		}
	}
	return nil, fmt.Errorf("%s has no platform %s", r.from.title, platform)
}

// save writes index as the one image of a layout.
func save(dir, refName string, index v1.ImageIndex) error {
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": refName,
	}))
}

func load(dir string) (v1.ImageIndex, error) {
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := root.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s: %d images, want one; remove the folder", dir, len(manifest.Manifests))
	}
	return root.ImageIndex(manifest.Manifests[0].Digest)
}

// recipe says how an image is made.
type recipe struct {
	title  string   // first part of its folder's name
	names  []string // what the image is pushed as
	slow   bool     // takes many minutes; nobody gets it without having asked for it
	from   *recipe  // nil for scratch
	inputs any      // all that the image is made from, but for its base
	make   func(ctx context.Context, k *kitchen, platform v1.Platform, from v1.Image) (v1.Image, error)
}

// key changes with everything that decides what the image is.
func (r *recipe) key() string {
	from := ""
	if r.from != nil {
		from = r.from.key()
	}
	text, err := json.Marshal(map[string]any{
		"version": version, "title": r.title, "inputs": r.inputs, "from": from, "platforms": platforms(),
	})
	if err != nil {
		panic(err) // the inputs are plain values of this package
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:16]
}

// platforms are those that every image is made for.
func platforms() []v1.Platform {
	return []v1.Platform{
		{OS: "linux", Architecture: "amd64"},
		{OS: "linux", Architecture: "arm64", Variant: "v8"},
	}
}

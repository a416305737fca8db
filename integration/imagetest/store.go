package imagetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Store keeps the layers of the images that it pulls, so that one that many
// images share is fetched, listed and unpacked once. What the functions of this
// package say of such an image is what they say of any other.
//
// A layer is known by its digest. That the registry still has it is asked each
// time; its bytes are read the first time only.
type Store struct {
	dir      string
	overlays bool // the kernel can lay folders of dir over each other

	mu     sync.Mutex // held while a layer is fetched or unpacked
	layers map[v1.Hash]*content
	stacks map[string]string // folder with a layer's changes, by the diff ids of it and all below
}

// content is what a store has of a layer.
type content struct {
	archive string    // file with the uncompressed archive
	diffID  v1.Hash   // of what is in it
	changes []*change // what it does to a tree
}

// Open makes a store in the folder dir, which it makes. The caller removes the
// folder when no image of the store is in use any more.
func Open(dir string) (*Store, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, layers: map[v1.Hash]*content{}, stacks: map[string]string{}}
	s.overlays = s.tryOverlay() == nil
	return s, nil
}

// Pull opens an image as the function Pull does.
func (s *Store) Pull(ctx context.Context, image, platform string) (v1.Image, error) {
	img, err := Pull(ctx, image, platform)
	if err != nil {
		return nil, err
	}
	return &storedImage{Image: img, store: s}, nil
}

// storedImage is an image of a registry whose layers a store reads.
type storedImage struct {
	v1.Image
	store *Store
}

// Layers implements v1.Image.
func (i *storedImage) Layers() ([]v1.Layer, error) {
	layers, err := i.Image.Layers()
	if err != nil {
		return nil, err
	}
	for n, l := range layers {
		layers[n] = &storedLayer{Layer: l, store: i.store}
	}
	return layers, nil
}

type storedLayer struct {
	v1.Layer
	store *Store
}

// Uncompressed implements v1.Layer.
func (l *storedLayer) Uncompressed() (io.ReadCloser, error) {
	c, err := l.content()
	if err != nil {
		return nil, err
	}
	return os.Open(c.archive)
}

// content is the layer's, fetched if the store does not have it.
func (l *storedLayer) content() (*content, error) {
	digest, err := l.Digest()
	if err != nil {
		return nil, err
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if c := l.store.layers[digest]; c != nil {
		there, err := partial.Exists(l.Layer)
		if err == nil && !there {
			err = fmt.Errorf("the registry does not have the layer %s", digest)
		}
		return c, err
	}
	c, err := l.store.fetch(l.Layer)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", digest, err)
	}
	l.store.layers[digest] = c
	return c, nil
}

// fetch reads a layer, checks it against its digests, and lists it.
func (s *Store) fetch(layer v1.Layer) (*content, error) {
	compressed, err := layer.Compressed() // an error at its end when it is not what its digest says
	if err != nil {
		return nil, err
	}
	defer compressed.Close()
	file, err := os.CreateTemp(s.dir, "layer-*.tar")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum := sha256.New()
	if err := unpack(io.MultiWriter(file, sum), compressed); err != nil {
		return nil, err
	}
	c := &content{archive: file.Name(), diffID: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}}
	if want, err := layer.DiffID(); err != nil || c.diffID != want {
		return nil, fmt.Errorf("the config says that it unpacks to %s, and it does to %s (%v)", want, c.diffID, err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	c.changes, err = list(bufio.NewReaderSize(file, 1<<20))
	return c, err
}

// unpack writes what a layer's blob unpacks to, and reads the blob to its end.
func unpack(to io.Writer, blob io.Reader) error {
	in := bufio.NewReaderSize(blob, 1<<16)
	head, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	plain := io.Reader(in)
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		plain, err = gzip.NewReader(in)
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1)); err == nil {
			defer z.Close()
			plain = z
		}
	default:
		err = nil
	}
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(to, plain, make([]byte, 1<<20))
	_, rest := io.Copy(io.Discard, in)
	return errors.Join(err, rest)
}

// stack returns the folders of an image's layers, the lowest first. The caller
// lays them over each other.
func (s *Store) stack(ctx context.Context, layers []*content) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var folders []string
	key := ""
	for i, l := range layers {
		key += l.diffID.Hex + "\n"
		folder, ok := s.stacks[key]
		if !ok {
			folder = filepath.Join(s.dir, fmt.Sprint(len(s.stacks)))
			if err := s.applyOn(ctx, folders, folder, l.archive); err != nil {
				return nil, fmt.Errorf("layer %d: %w", i, err)
			}
			s.stacks[key] = folder
		}
		folders = append(folders, folder)
	}
	return folders, nil
}

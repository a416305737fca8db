package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibuild/ibuild/integration/imagetest"
)

// project is a folder with a context, one Dockerfile for everybody, the same with COPY --link for those who gain by
// it, and for some rows a spec that makes the same files. Nothing but the context is in the context.
type project string

func (p project) context() string    { return filepath.Join(string(p), "context") }
func (p project) dockerfile() string { return filepath.Join(string(p), "plain", "Dockerfile") }
func (p project) linked() string     { return filepath.Join(string(p), "linked", "Dockerfile") }
func (p project) spec() string       { return filepath.Join(string(p), "image.yaml") }

// newProject writes a project. An empty spec is none.
func (b *bench) newProject(name, dockerfile, spec string) (project, error) {
	p := project(filepath.Join(b.dir, name))
	files := map[string]string{
		p.dockerfile(): dockerfile,
		p.linked():     strings.ReplaceAll(dockerfile, "COPY ", "COPY --link "),
	}
	if spec != "" {
		files[p.spec()] = spec
	}
	for file, text := range files {
		if err := write(file, text); err != nil {
			return "", err
		}
	}
	return p, os.MkdirAll(p.context(), 0o755)
}

// put writes a file of the context.
func (p project) put(file, text string) error { return write(filepath.Join(p.context(), file), text) }

func write(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// fill writes count small files of different contents into folders of a hundred.
func (p project) fill(count int) error {
	for i := range count {
		text := strings.Repeat(fmt.Sprintf("line of file %d\n", i), 20+i%50)
		if err := p.put(fmt.Sprintf("src/%03d/%02d.txt", i/100, i%100), text); err != nil {
			return err
		}
	}
	return nil
}

// pinned is a base image by its digest, by the name that it has in the registry of the environment.
func (b *bench) pinned(image string) (string, error) {
	base, err := b.env.Base(b.ctx, image)
	if err != nil {
		return "", err
	}
	ref, err := name.ParseReference(base.Ref)
	return ref.Context().Name() + "@" + base.Digest.String(), err
}

// bigLayers layers of bigFiles files of bigSize random bytes are 330 MB, which no compression makes less.
const (
	bigLayers = 3
	bigFiles  = 220
	bigSize   = 500_000
)

// bigBase pushes an image of 330 MB on top of busybox, and returns its name by digest.
func (b *bench) bigBase() (string, error) {
	small, err := b.pinned("busybox")
	if err != nil {
		return "", err
	}
	img, err := imagetest.Pull(b.ctx, small, "linux/"+goarch())
	if err != nil {
		return "", err
	}
	for i := range bigLayers {
		archive, err := randomArchive(i)
		if err != nil {
			return "", err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil },
			tarball.WithCompression(compression.GZip), tarball.WithCompressionLevel(1), tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return "", err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return "", err
		}
	}
	ref, err := name.NewTag(b.env.Registry.Ref("bench/base:1"))
	if err != nil {
		return "", err
	}
	if err := remote.Write(ref, img, remote.WithContext(b.ctx)); err != nil {
		return "", err
	}
	digest, err := img.Digest()
	return ref.Context().Name() + "@" + digest.String(), err
}

// randomArchive is a layer of the big base, the same in each run of the program.
func randomArchive(number int) ([]byte, error) {
	random := rand.NewChaCha8([32]byte{byte(number)})
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	text := make([]byte, bigSize)
	for i := range bigFiles {
		random.Read(text) //nolint:errcheck // it never fails
		h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("opt/big/%d-%d", number, i), Mode: 0o644, Size: bigSize}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(text); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

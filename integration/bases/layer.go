package bases

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time that files and configs bear, the day Debian 12 came out.
func epoch() time.Time { return time.Date(2023, 6, 10, 0, 0, 0, 0, time.UTC) }

// kitchen is where an image for one platform is made: a folder for temporary
// files, which ordinary users can enter because mmdebstrap may need to.
type kitchen struct {
	dir string
}

func newKitchen(temp string) (*kitchen, error) {
	dir, err := os.MkdirTemp(temp, "bases-")
	if err != nil {
		return nil, err
	}
	return &kitchen{dir: dir}, os.Chmod(dir, 0o755)
}

func (k *kitchen) clean() error { return os.RemoveAll(k.dir) }

func (k *kitchen) path(name string) string { return filepath.Join(k.dir, name) }

// contents of a layer: an archive that calls write for every entry.
type contents func(write func(*tar.Header, io.Reader) error) error

// layer writes an archive into the kitchen and makes a layer of it.
func (k *kitchen) layer(from contents) (v1.Layer, error) {
	file, err := os.CreateTemp(k.dir, "layer-*.tar")
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(file)
	err = from(func(h *tar.Header, body io.Reader) error {
		if err := archive.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		_, err := io.Copy(archive, body)
		return err
	})
	if err := errors.Join(err, archive.Close(), file.Close()); err != nil {
		return nil, err
	}
	return tarball.LayerFromFile(file.Name(), tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// addition is a layer that comes on top of an image, and what the image's
// config then says.
type addition struct {
	platform  v1.Platform
	layer     v1.Layer
	createdBy string
	config    v1.Config
}

// add puts a layer on top of from; nil stands for scratch.
func (a addition) add(from v1.Image) (v1.Image, error) {
	if from == nil {
		from = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	image, err := mutate.Append(from, mutate.Addendum{
		Layer:     a.layer,
		MediaType: types.OCILayer,
		History:   v1.History{Created: v1.Time{Time: epoch()}, CreatedBy: a.createdBy},
	})
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = a.platform.OS, a.platform.Architecture, a.platform.Variant
	file.Created = v1.Time{Time: epoch()}
	file.Config = a.config
	return mutate.ConfigFile(image, file)
}

// walk calls visit for every entry of a root file system's archive that
// belongs into an image. Names lose their leading "./".
func walk(archive io.Reader, visit func(*tar.Header, io.Reader) error) error {
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		header.Name = strings.TrimPrefix(path.Clean(header.Name), "/")
		if !wanted(header) {
			continue
		}
		if header.Typeflag == tar.TypeDir {
			header.Name += "/"
		}
		if header.Typeflag == tar.TypeLink {
			header.Linkname = path.Clean(header.Linkname)
		}
		header.Format = tar.FormatUnknown // the smallest one that can hold it
		if err := visit(header, reader); err != nil {
			return err
		}
	}
}

// wanted leaves out devices, the files that hold this machine's name and name
// servers, and caches and logs.
func wanted(h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return false
	}
	for _, pattern := range []string{
		".", "dev/*", "etc/hostname", "etc/hosts", "etc/resolv.conf",
		"var/cache/apt/*.bin", "var/cache/ldconfig/*", "var/log/*.log", "var/log/apt/*",
	} {
		if match, _ := path.Match(pattern, h.Name); match {
			return false
		}
	}
	return true
}

package bases

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// rattlerVersion is the release of py-rattler that stands in for micromamba,
// which nobody publishes but on GitHub and conda-forge.
const rattlerVersion = "0.28.0"

// yamlVersion is the release of ruamel.yaml, by which it reads environment files.
const yamlVersion = "0.19.1"

func rattlerWheels() map[string]wheel {
	return map[string]wheel{
		"amd64": {"manylinux_2_17_x86_64", "4f4ab1d34d5394e7ce130a86e59009c95ace4f5757d9c3af04de1351bcea47eb"},
		"arm64": {"manylinux_2_28_aarch64", "61b24202374188e72130f1b3dc63b455befaafc3e49e5481a38b6a6c8828c1e0"},
	}
}

func yamlWheel() wheel {
	return wheel{"any", "27592957fedf6e0b62f281e96effd28043345e0e66001f97683aa9a40c667c93"}
}

// micromambaMain is the program, micromambaLaunch what unpacks and starts it.
//
//go:embed micromamba/main.py
var micromambaMain string

//go:embed micromamba/launch.sh
var micromambaLaunch string

// micromamba is a conda client with micromamba's command line, in one file
// with its own Python and C library, so that it also runs where it is mounted.
// The tag says that it is another program.
func micromamba(from *recipe) *recipe {
	return &recipe{
		title: "micromamba", names: []string{"mambaorg/micromamba:py-rattler-" + rattlerVersion}, from: from,
		inputs: []any{rattlerVersion, rattlerWheels(), yamlVersion, yamlWheel(), micromambaMain, micromambaLaunch},
		make: func(ctx context.Context, k *kitchen, platform v1.Platform, base v1.Image) (v1.Image, error) {
			rattler, err := k.download(ctx, "py-rattler=="+rattlerVersion, rattlerWheels()[platform.Architecture])
			if err != nil {
				return nil, err
			}
			yaml, err := k.download(ctx, "ruamel.yaml=="+yamlVersion, yamlWheel())
			if err != nil {
				return nil, err
			}
			program, err := selfExtracting(platform, base, rattler, yaml)
			if err != nil {
				return nil, err
			}
			layer, err := k.layer(func(write func(*tar.Header, io.Reader) error) error {
				return write(regular("usr/bin/micromamba", 0o755, len(program)), bytes.NewReader(program))
			})
			if err != nil {
				return nil, err
			}
			return addition{
				platform: platform, layer: layer, createdBy: "py-rattler's wheel on PyPI",
				config: v1.Config{
					Env: []string{defaultPath, "MAMBA_ROOT_PREFIX=/opt/conda", "MAMBA_EXE=/bin/micromamba"}, Cmd: []string{"bash"},
				},
			}.add(base)
		},
	}
}

// selfExtracting makes a shell script that is followed by a compressed archive
// of all that the program needs.
func selfExtracting(platform v1.Platform, python v1.Image, wheels ...[]byte) ([]byte, error) {
	script := strings.NewReplacer(
		"@LINES@", fmt.Sprint(strings.Count(micromambaLaunch, "\n")+1),
		"@LIBRARIES@", libraries(platform), "@LOADER@", loader(platform),
	).Replace(micromambaLaunch)
	out := bytes.NewBufferString(script)
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	write := func(h *tar.Header, body io.Reader) error {
		if err := archive.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		_, err := io.Copy(archive, body)
		return err
	}
	errs := []error{
		write(regular("main.py", 0o644, len(micromambaMain)), strings.NewReader(micromambaMain)),
		pythonFiles(platform, python, write),
	}
	for _, data := range wheels {
		errs = append(errs, wheelFiles(data, write))
	}
	if err := errors.Join(append(errs, archive.Close(), compressed.Close())...); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// libraries is the folder of an architecture's libraries in Debian.
func libraries(p v1.Platform) string {
	return "usr/lib/" + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[p.Architecture] + "-linux-gnu"
}

// loader is the program that starts programs with shared libraries.
func loader(p v1.Platform) string {
	return map[string]string{"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}[p.Architecture]
}

// pythonFiles writes Python, the libraries that it and rattler need, and the
// authorities that the image trusts.
func pythonFiles(platform v1.Platform, image v1.Image, write func(*tar.Header, io.Reader) error) error {
	root := mutate.Extract(image)
	defer root.Close()
	return walk(root, func(h *tar.Header, body io.Reader) error {
		if h.Typeflag != tar.TypeDir && ofPython(h.Name, libraries(platform)) {
			return write(h, body)
		}
		return nil
	})
}

// ofPython says whether a file of the image is one that the program needs.
func ofPython(name, libraries string) bool {
	if rest, ok := strings.CutPrefix(name, "usr/lib/python3.11/"); ok {
		top, _, _ := strings.Cut(rest, "/")
		unused := []string{"ensurepip", "lib2to3", "distutils", "pydoc_data", "idlelib", "venv", "wsgiref"}
		return !slices.Contains(unused, top) && !strings.Contains(rest, "__pycache__")
	}
	if path.Dir(name) == libraries {
		for _, library := range []string{
			"ld-linux", "libc.so", "libm.so", "libgcc_s.so", "libz.so", "libexpat.so",
			"libdl.so", "libpthread.so", "librt.so", "libutil.so", "libresolv.so", "libnss_",
		} {
			if strings.HasPrefix(path.Base(name), library) {
				return true
			}
		}
	}
	return name == "usr/bin/python3.11" || name == "etc/ssl/certs/ca-certificates.crt"
}

// wheelFiles writes what a wheel installs.
func wheelFiles(data []byte, write func(*tar.Header, io.Reader) error) error {
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "/") || strings.Contains(f.Name, ".dist-info/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		err = write(regular("site/"+f.Name, 0o644, int(f.UncompressedSize64)), r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

package pyindex

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
)

// backend is the build backend that lies in every source distribution, so that
// building one needs no network.
//
//go:embed backend.py
var backend string

// source makes the release's source distribution.
func (r release) source() ([]byte, error) {
	const project = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n\n" +
		"[project]\nname = %q\nversion = %q\nrequires-python = \">=3.8\"\nscripts = {%q = %q}\n"
	files := []file{
		{"PKG-INFO", r.metadata()},
		{"pyproject.toml", fmt.Sprintf(project, r.name, r.version, r.name, r.module()+":main")},
		{"backend.py", backend},
		{"entry_points.txt", r.entryPoints()},
		r.code(),
	}
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: r.stem() + "/" + f.path, Mode: 0o644, Size: int64(len(f.text)), ModTime: epoch()}
		if err := archive.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := archive.Write([]byte(f.text)); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := compressed.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

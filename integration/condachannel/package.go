package condachannel

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// placeholder stands in a package's texts for the folder that it gets
// installed into. It is long, as those of real packages are.
const (
	placeholder = "/opt/ibuild_placeholder" + padding + padding + padding + padding
	padding     = "_placehold_placehold_placehold_placehold_placehold"
)

// pkg is one package of the channel.
type pkg struct {
	name, version string
	noarch        bool
	depends       []string
	files         func(subdir string) []file
}

// file is a text that a package installs. One with a prefix contains the
// placeholder.
type file struct {
	path   string
	mode   int64
	text   string
	prefix bool
}

// packages lists what the channel has. The newest greeting does not satisfy
// what hello depends on, so that only a solver finds the right pair.
func packages() []pkg {
	return []pkg{
		{
			name: "ibuild-hello", version: "1.0", depends: []string{"ibuild-greeting >=1,<2"},
			files: func(subdir string) []file {
				return []file{
					{"bin/ibuild-hello", 0o755, "#!/bin/sh\nread -r greeting <" + placeholder + "/share/ibuild-greeting\n" +
						"echo \"$greeting from " + subdir + "\"\n", true},
				}
			},
		},
		{name: "ibuild-greeting", version: "1.5", noarch: true, files: greeting("hello")},
		{name: "ibuild-greeting", version: "2.0", noarch: true, files: greeting("good day")},
		{name: "python", version: "3.11.2", noarch: true, files: python},
	}
}

// python makes the environment a virtual one of the image's own Python 3.11, so that it has a Python with a
// prefix of its own, as far as Python and uv can see. It works on Debian's Python only.
func python(string) []file {
	const launch = "#!/usr/bin/python3.11 -I\nimport os, sys\nos.execv('/usr/bin/python3.11', ['" + placeholder + "/bin/python', *sys.argv[1:]])\n"
	return []file{
		{"bin/python", 0o755, launch, true},
		{"bin/python3", 0o755, launch, true},
		{path: "pyvenv.cfg", mode: 0o644, text: "home = /usr/bin\nversion = 3.11.2\n"},
	}
}

func greeting(words string) func(string) []file {
	return func(string) []file { return []file{{path: "share/ibuild-greeting", mode: 0o644, text: words + "\n"}} }
}

// license is that of all packages.
const license = "Apache-2.0"

// arch is the machine of a subdir that is not noarch.
func arch(subdir string) string {
	if subdir == "linux-aarch64" {
		return "aarch64"
	}
	return "x86_64"
}

// in says whether the package is one of the subdir's.
func (p pkg) in(subdir string) bool { return p.noarch == (subdir == "noarch") }

// build is the name of the package's build, which differs from platform to
// platform as in real channels: clients keep packages by name, version and build.
func (p pkg) build(subdir string) string {
	if p.noarch {
		return "0"
	}
	sum := sha256.Sum256([]byte(subdir))
	return "h" + hex.EncodeToString(sum[:])[:7] + "_0"
}

func (p pkg) stem(subdir string) string { return p.name + "-" + p.version + "-" + p.build(subdir) }

func (p pkg) file(subdir string) string { return p.stem(subdir) + ".conda" }

// indexJSON is what the package says of itself.
func (p pkg) indexJSON(subdir string) map[string]any {
	index := map[string]any{
		"name": p.name, "version": p.version, "build": p.build(subdir), "build_number": 0,
		"depends": append([]string{}, p.depends...), "subdir": subdir, "timestamp": epoch().UnixMilli(), "license": license,
	}
	if p.noarch {
		index["noarch"] = "generic"
	} else {
		index["platform"], index["arch"] = "linux", arch(subdir)
	}
	return index
}

// archive is the package's .conda file: a zip that holds two compressed tars,
// one with what is installed and one with what is said about it.
func (p pkg) archive(subdir string) ([]byte, error) {
	info, err := p.info(subdir)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	if err := addStored(z, "metadata.json", []byte(`{"conda_pkg_format_version": 2}`)); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name  string
		files []file
	}{{"pkg", p.files(subdir)}, {"info", info}} {
		data, err := tarball(part.files)
		if err != nil {
			return nil, err
		}
		if data, err = compress(data); err != nil {
			return nil, err
		}
		if err := addStored(z, part.name+"-"+p.stem(subdir)+".tar.zst", data); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// addStored adds a file to the zip as it is, without compression on top, and
// with its size in front: pixi unpacks a package while it still comes in.
func addStored(z *zip.Writer, name string, data []byte) error {
	size := uint64(len(data))
	w, err := z.CreateRaw(&zip.FileHeader{
		Name: name, Method: zip.Store, Modified: epoch(),
		CRC32: crc32.ChecksumIEEE(data), CompressedSize64: size, UncompressedSize64: size,
	})
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

// info makes the files that describe a package.
func (p pkg) info(subdir string) ([]file, error) {
	var names []string
	var paths []map[string]any
	for _, f := range p.files(subdir) {
		names = append(names, f.path)
		sum := sha256.Sum256([]byte(f.text))
		entry := map[string]any{
			"_path": f.path, "path_type": "hardlink", "sha256": hex.EncodeToString(sum[:]), "size_in_bytes": len(f.text),
		}
		if f.prefix {
			entry["prefix_placeholder"], entry["file_mode"] = placeholder, "text"
		}
		paths = append(paths, entry)
	}
	about := map[string]any{"summary": "a package of ibuild's tests"}
	info := []file{{path: "info/files", mode: 0o644, text: strings.Join(names, "\n") + "\n"}}
	for _, document := range []struct {
		path  string
		value any
	}{
		{"info/about.json", about},
		{"info/index.json", p.indexJSON(subdir)},
		{"info/paths.json", map[string]any{"paths": paths, "paths_version": 1}},
	} {
		text, err := json.Marshal(document.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", document.path, err)
		}
		info = append(info, file{path: document.path, mode: 0o644, text: string(text)})
	}
	return info, nil
}

func tarball(files []file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Size: int64(len(f.text)), ModTime: epoch()}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// epoch is the time that all files bear.
func epoch() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }

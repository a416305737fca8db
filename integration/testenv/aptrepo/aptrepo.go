package aptrepo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"time"
)

// control describes the one package.
const control = `Package: ibuild-deb-hello
Version: 1.0
Architecture: all
Maintainer: ibuild's tests <nobody@example.org>
Description: says hello
`

// Files makes the repository: its files by their path below its URL. The
// package is ibuild-deb-hello, with a program of that name.
func Files() (map[string][]byte, error) {
	deb, err := archive()
	if err != nil {
		return nil, err
	}
	const name = "ibuild-deb-hello_1.0_all.deb"
	packages := fmt.Sprintf("%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n", control, name, len(deb), sha256.Sum256(deb))
	release := fmt.Sprintf("Origin: ibuild's tests\nSuite: tests\nDate: %s\nSHA256:\n %x %d Packages\n",
		epoch().Format(time.RFC1123), sha256.Sum256([]byte(packages)), len(packages))
	return map[string][]byte{name: deb, "Packages": []byte(packages), "Release": []byte(release)}, nil
}

// archive makes the package: an ar archive of the format's version and two
// tars, one with what dpkg should know and one with what it installs.
func archive() ([]byte, error) {
	about, err := tarball("./control", 0o644, control)
	if err != nil {
		return nil, err
	}
	installed, err := tarball("./usr/bin/ibuild-deb-hello", 0o755, "#!/bin/sh\necho hello from a .deb\n")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString("!<arch>\n")
	addMember(&out, "debian-binary", []byte("2.0\n"))
	addMember(&out, "control.tar.gz", about)
	addMember(&out, "data.tar.gz", installed)
	return out.Bytes(), nil
}

// addMember adds a file to an ar archive; each begins at an even place.
func addMember(out *bytes.Buffer, name string, data []byte) {
	fmt.Fprintf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, epoch().Unix(), 0, 0, "100644", len(data))
	out.Write(data)
	if len(data)%2 == 1 {
		out.WriteByte('\n')
	}
}

// tarball is a compressed tar with one file.
func tarball(name string, mode int64, text string) ([]byte, error) {
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	w := tar.NewWriter(compressed)
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(text)), ModTime: epoch()}
	if err := w.WriteHeader(h); err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := compressed.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// epoch is the time that all files bear.
func epoch() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }

package bootstrap

import (
	"bytes"
	_ "crypto/sha256" // for go-digest
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// programs has a README, so that there is something to embed, and for each architecture linux-ARCH.zst and
// linux-ARCH.digest, once they are generated.
//
//go:embed programs
var programs embed.FS

// Architectures are those that there are programs for, as OCI calls them.
func Architectures() []string { return []string{"amd64", "arm64"} }

// MissingError says that this ibuild was built without a program.
type MissingError struct{ Arch string }

// Error says what to do, too.
func (e *MissingError) Error() string {
	return fmt.Sprintf("this ibuild was built without the bootstrap for linux/%s, which runs in the containers of jobs (build ibuild with make, or run: go generate ./runner/bootstrap)", e.Arch)
}

// ArchError says that there is no program for an architecture.
type ArchError struct{ Arch string }

// Error lists those that there are.
func (e *ArchError) Error() string {
	return fmt.Sprintf("there is no bootstrap for linux/%s, only for %s", e.Arch, strings.Join(Architectures(), " and "))
}

// maxProgram is the size in bytes that a program may have.
const maxProgram = 64 << 20

// Digest is that of the program for an architecture. It costs nothing: the program is not unpacked for it.
// Errors: *ArchError, *MissingError.
func Digest(arch string) (digest.Digest, error) { return program{programs, arch}.digest() }

// File returns the program for an architecture as a file below the folder of a cache, made if it is not there. Its name
// is its digest, and what is there is read and compared before it is believed. The file may be used as long as nobody
// empties that cache; it is not to be changed. Several processes may do this at a time.
// Errors: *ArchError, *MissingError, those of the folder.
func File(cacheFolder, arch string) (string, error) { return program{programs, arch}.file(cacheFolder) }

// program is one of those that are in a file system.
type program struct {
	from fs.FS
	arch string
}

func (p program) digest() (digest.Digest, error) {
	if p.arch != "amd64" && p.arch != "arm64" {
		return "", &ArchError{p.arch}
	}
	data, err := fs.ReadFile(p.from, "programs/linux-"+p.arch+".digest")
	if errors.Is(err, fs.ErrNotExist) {
		return "", &MissingError{p.arch}
	}
	if err != nil {
		return "", err
	}
	return digest.Parse(strings.TrimSpace(string(data)))
}

func (p program) file(cacheFolder string) (string, error) {
	want, err := p.digest()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cacheFolder, "bootstrap")
	name := filepath.Join(folder, want.Encoded())
	if isThere(name, want) {
		return name, nil
	}
	data, err := p.unpack(want)
	if err != nil {
		return "", err
	}
	return name, write(folder, name, data)
}

// isThere tells whether a file has its digest.
func isThere(name string, want digest.Digest) bool {
	file, err := os.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	got, err := digest.FromReader(io.LimitReader(file, maxProgram+1))
	return err == nil && got == want
}

// unpack returns the program.
func (p program) unpack(want digest.Digest) ([]byte, error) {
	packed, err := fs.ReadFile(p.from, "programs/linux-"+p.arch+".zst")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingError{p.arch}
	}
	if err != nil {
		return nil, err
	}
	r, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxProgram))
	if err == nil && digest.FromBytes(data) != want {
		err = errors.New("it has not the digest that it was built with")
	}
	if err != nil {
		return nil, fmt.Errorf("the bootstrap in this ibuild is damaged: %w", err)
	}
	return data, nil
}

// write puts the file there as a whole: who looks meanwhile sees none, or all of it.
func write(folder, name string, data []byte) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(folder, ".new-")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(0o755), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

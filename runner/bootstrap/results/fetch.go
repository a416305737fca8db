package results

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/registry"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Target is where results go.
type Target struct {
	Folder    string          // made if it is not there
	Overwrite bool            // files that are there are replaced; without it, the folder has to be empty
	MaxBytes  int64           // what the files may have together; 0 is DefaultMaxBytes
	Came      func(bytes int) // told of bytes of layers as they come, for progress; nil for nobody. Several fetches call it side by side
}

// DefaultMaxBytes is how large results may be when nothing else is said.
const DefaultMaxBytes = 100 << 30

// NotEmptyError says that there are files where results should go.
type NotEmptyError struct{ Folder string }

// Error names the folder.
func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("the folder %s is not empty", e.Folder)
}

// TooLargeError says that results are larger than was allowed.
type TooLargeError struct{ Bytes, Limit int64 }

// Error names both.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the results have %d bytes, more than the limit of %d", e.Bytes, e.Limit)
}

// FormatError says that what was fetched is not what results are.
type FormatError struct {
	Ref string // the artifact
	Msg string
}

// Error says where and what.
func (e *FormatError) Error() string { return e.Ref + ": " + e.Msg }

// Fetch brings the results of one host to a folder. They are written beside their places first, below a folder with a
// name that begins with [Unfinished], and moved there when all of them are there and verified: a fetch that ends early
// leaves nothing of itself, and one that is killed only that folder.
//
// pinned is the digest that the tag has to have; empty is whatever it has. Errors: *NotEmptyError, *TooLargeError,
// *FormatError, *registry.Error (ErrNotFound for results that are not there), those of the folder, or the context's.
func Fetch(ctx context.Context, client *registry.Client, ref string, pinned digest.Digest, to Target) (Summary, error) {
	s, layers, repo, err := read(ctx, client, ref, pinned)
	if err != nil {
		return s, err
	}
	limit := to.MaxBytes
	if limit <= 0 {
		limit = DefaultMaxBytes
	}
	if s.Bytes > limit {
		return s, &TooLargeError{s.Bytes, limit}
	}
	root, err := target(to)
	if err != nil {
		return s, err
	}
	defer root.Close()
	stage := Unfinished + rand.Text()
	if err := root.Mkdir(stage, 0o700); err != nil {
		return s, err
	}
	defer root.RemoveAll(stage)
	staged, err := root.OpenRoot(stage)
	if err != nil {
		return s, err
	}
	defer staged.Close()
	if to.Came == nil {
		to.Came = func(int) {}
	}
	u := &unpacker{root: staged, files: s.Files, bytes: s.Bytes, plain: s.Bytes + maxAround, came: to.Came}
	for _, desc := range layers {
		if err := u.layer(ctx, client, repo, desc); err != nil {
			return s, blame(ref, err)
		}
	}
	if err := u.finish(); err != nil {
		return s, blame(ref, err)
	}
	return s, u.settle(root, stage)
}

// Unfinished begins the name of the folder in which results are until they are complete.
const Unfinished = ".ibuild-unfinished-"

// read returns what the tag stands for.
func read(ctx context.Context, client *registry.Client, ref string, pinned digest.Digest) (Summary, []ocispecs.Descriptor, string, error) {
	at := strings.LastIndexByte(ref, ':')
	if at < 0 {
		return Summary{}, nil, "", &FormatError{ref, "there is no tag"}
	}
	repo := ref[:at]
	if pinned == "" {
		desc, _, err := client.Current(ctx, ref)
		if err != nil {
			return Summary{}, nil, repo, err
		}
		pinned = desc.Digest
	}
	data, err := client.FetchManifest(ctx, repo+"@"+pinned.String())
	if err != nil {
		return Summary{}, nil, repo, err
	}
	s, layers, err := parseManifest(data)
	return s, layers, repo, blame(ref, err)
}

// formatError is a text about the content, without where it came from.
type formatError struct{ error }

func badContent(format string, args ...any) error { return formatError{fmt.Errorf(format, args...)} }

// blame says which artifact an error about content is about.
func blame(ref string, err error) error {
	var bad formatError
	if errors.As(err, &bad) {
		return &FormatError{ref, bad.Error()}
	}
	return err
}

// target opens the folder, and makes it if need be.
func target(to Target) (*os.Root, error) {
	if err := os.MkdirAll(to.Folder, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(to.Folder)
	if err != nil {
		return nil, err
	}
	if to.Overwrite {
		return root, nil
	}
	dir, err := root.Open(".")
	if err == nil {
		var names []string
		if names, err = dir.Readdirnames(1); len(names) > 0 {
			err = &NotEmptyError{to.Folder}
		} else if err == io.EOF {
			err = nil
		}
		_ = dir.Close()
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// settle moves all that was unpacked from the stage to its place.
func (u *unpacker) settle(root *os.Root, stage string) error {
	for _, e := range u.folders {
		if err := root.MkdirAll(e.path, 0o755); err != nil {
			return place(e.path, err)
		}
	}
	for _, name := range u.others {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return place(name, err)
		}
		if err := root.Rename(stage+"/"+name, name); err != nil {
			return place(name, err)
		}
	}
	// From the innermost on: a folder may come without the right to write into it, and its time changes with what is in it.
	for _, e := range slices.Backward(u.folders) {
		err := errors.Join(root.Chmod(e.path, e.mode.Perm()|0o700), root.Chtimes(e.path, e.time, e.time))
		if err != nil {
			return place(e.path, err)
		}
	}
	return nil
}

// place says which file could not be put where it belongs.
func place(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%q of the results cannot be put where something of another kind is: %w", name, err)
	}
	return fmt.Errorf("%q of the results: %w", name, err)
}

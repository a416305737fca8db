package engine

import (
	"bytes"
	"errors"
	"slices"

	"github.com/moby/buildkit/solver/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// FullError says that a disk, or a user's quota on it, is full.
type FullError struct {
	// Output is the destination of the output that has no room; "" when a step met a full disk, which is the builder's.
	Output string
	Err    error
}

// Error names the output. What a step says of its disk is in its output, so here it is the step's own error.
func (e *FullError) Error() string {
	switch {
	case e.Output == "":
		return e.Err.Error()
	case errors.Is(e.Err, unix.EDQUOT):
		return "cannot write " + e.Output + ": the quota on its disk is used up"
	}
	return "cannot write " + e.Output + ": its disk is full"
}

// Unwrap returns the cause.
func (e *FullError) Unwrap() error { return e.Err }

// fullDisk makes a FullError of a failed step that has said that its disk is full. Other errors stay.
func (o *stepOutputs) fullDisk(err error) error {
	var vertex *errdefs.VertexError
	if !errors.As(err, &vertex) {
		return err
	}
	o.done.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	text := o.texts[digest.Digest(vertex.Vertex.Digest)]
	// As C's library says it; Go's says the same in small letters.
	if slices.ContainsFunc([]string{"no space left on device", "disk quota exceeded"}, func(s string) bool { return bytes.Contains(bytes.ToLower(text), []byte(s)) }) {
		return &FullError{Err: err}
	}
	return err
}

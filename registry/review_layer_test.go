package registry

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestReviewLastReadFails: a reader that checks what it gives says so with its last read, after all bytes.
func TestReviewLastReadFails(t *testing.T) {
	other := errors.New("it is not what it was")
	store, err := newCache(t).Content()
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{Path: "a", Mode: 0o644, Size: 5, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("hello"), failing{other})), nil
	}}
	if _, err := BuildLayer(ctx(t), store, []Entry{e}, LayerOptions{}); !errors.Is(err, other) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

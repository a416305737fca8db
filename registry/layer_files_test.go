package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
)

// countedFile counts how many are open.
type countedFile struct {
	io.Reader
	open *atomic.Int32
}

func (f countedFile) Close() error {
	f.open.Add(-1)
	return nil
}

// TestFilesAreClosed ends layers in the middle, with files that were read ahead and large ones that wait.
func TestFilesAreClosed(t *testing.T) {
	errBroken := errors.New("broken")
	for _, c := range []struct {
		name string
		at   int // the entry that fails
		fail func(*Entry, context.CancelFunc)
		want error
	}{
		{"nothing fails", -1, nil, nil},
		{"cannot be opened", 100, func(e *Entry, _ context.CancelFunc) {
			e.Open = func() (io.ReadCloser, error) { return nil, errBroken }
		}, errBroken},
		{"too short", 100, func(e *Entry, _ context.CancelFunc) { e.Size++ }, ErrFileChanged},
		{"too long", 101, func(e *Entry, _ context.CancelFunc) { e.Size-- }, ErrFileChanged},
		{"cancelled", 100, func(e *Entry, cancel context.CancelFunc) {
			open := e.Open
			e.Open = func() (io.ReadCloser, error) { cancel(); return open() }
		}, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(ctx(t))
			defer cancel()
			var open atomic.Int32
			var entries []Entry
			for i := range 300 {
				text := strings.Repeat("x", 10+i%2*(2*wholeFile)) // every second one is too large to be read ahead
				entries = append(entries, Entry{Path: fmt.Sprintf("%03d", i), Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
					open.Add(1)
					return countedFile{strings.NewReader(text), &open}, nil
				}})
			}
			if c.fail != nil {
				c.fail(&entries[c.at], cancel)
			}
			store, err := newCache(t).Content()
			if err != nil {
				t.Fatal(err)
			}
			_, err = BuildLayer(ctx, store, entries, LayerOptions{})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if n := open.Load(); n != 0 {
				t.Errorf("%d files are still open", n)
			}
		})
	}
}

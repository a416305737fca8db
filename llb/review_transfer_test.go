package llb

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReviewPipeInPlaceOfAFile: a builder asks for a file that somebody has made a pipe of meanwhile. Opening it
// would wait for a writer, and nobody could end that.
func TestReviewPipeInPlaceOfAFile(t *testing.T) {
	dir := fill(t, map[string]string{"a": "1111"})
	l := Local{Dir: dir}.withSums()
	if _, err := (&localSource{local: l}).list(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(dir, "a")
	if err := errors.Join(os.Remove(p), unix.Mkfifo(p, 0o644)); err != nil {
		t.Fatal(err)
	}
	var told error
	files, err := l.Transfer(func(err error) { told = err })
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		f, err := files.Open("a")
		if err == nil {
			_, err = io.ReadAll(f)
			err = errors.Join(err, f.Close())
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil || told == nil || !strings.Contains(told.Error(), "a changed during the build") {
			t.Errorf("%v, told %v", err, told)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it hangs")
	}
}

// TestReviewClockSetBack: the beginning of a build is a time of the clock on the wall. With Go's monotonic reading
// in it, a clock that was set back since would not be seen.
func TestReviewClockSetBack(t *testing.T) {
	s := newSums("", nil)
	if s.since != s.since.Round(0) {
		t.Errorf("%v has a monotonic reading", s.since)
	}
}

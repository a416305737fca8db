package embed

import (
	"io"
	"strings"
	"sync"
)

const (
	tailKept  = 256 << 10 // a panic prints every goroutine
	tailShown = 4 << 10
)

// tail hands what is written on to a log and keeps the end of it, to explain an
// unexpected end of the writer. The zero value works.
type tail struct {
	log io.Writer // may be nil

	mu   sync.Mutex
	kept []byte
}

// Write never fails: a broken log is no reason for the child to break.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log != nil {
		_, _ = t.log.Write(b)
	}
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - tailKept; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

// String is the start of a crash of the Go runtime if there was one, else the
// end of what was written.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := string(t.kept)
	for _, mark := range []string{"panic: ", "fatal error: "} {
		if i := strings.Index("\n"+s, "\n"+mark); i >= 0 {
			return s[i:min(len(s), i+tailShown)]
		}
	}
	return s[max(0, len(s)-tailShown):]
}

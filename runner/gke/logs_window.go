package gke

import (
	"slices"
	"time"
)

// window remembers the newest lines that were read of a pod, so that reading can
// go on after a connection was cut without losing or doubling a line.
//
// The API takes a time in whole seconds from which on to send lines. So lines
// that were read already come again. Their times alone do not tell which: the
// two outputs of a program are written down by two threads, a little out of
// order, and several lines may have the same time. But the order in the node's
// file never changes: what comes again is the end of what was read, and all
// after it is new.
//
// A node puts a new file in place of one of 10 MB, and the API reads the newest
// one only. Lines are lost when the last line that was read does not come again
// after a cut; and when a reader was so slow that two files were put away: the
// node's kubelet then goes from the first to the third, and afterwards reads the
// third once more from its beginning. Both are noticed here.
type window struct {
	seen    []mark // lines that were read, as far as room allows, in their order
	newest  int64  // the newest time of them
	trimmed bool   // lines before seen[0] may come again, too

	resuming bool // lines come that were read already
	at       int  // the next of seen that has to come
}

const (
	// maxSeen bounds the memory of one pod: 2 MB. A file of 10 MB has as many
	// lines when they are 34 bytes long, next to the 46 that the node puts before each.
	maxSeen = 1 << 17
	// disorder is by how much the times of neighbouring lines may be out of order.
	disorder = time.Second
)

// resume is the time from which on to ask, in whole seconds; zero asks for all.
func (w *window) resume() time.Time {
	if w.newest == 0 {
		return time.Time{}
	}
	return time.Unix(0, w.newest).Add(-disorder).Truncate(time.Second).UTC()
}

// reopened says that lines come again, from resume on.
func (w *window) reopened() { w.resuming, w.at = len(w.seen) > 0, 0 }

// verdict is what to do with a line.
type verdict int

const (
	fresh   verdict = iota // it is new
	again                  // it was read before
	gapped                 // it is new, and lines before it may be lost
	rewound                // it was read before, and the node begins its file again: lines may be lost
)

// look says what to do with a line that comes. A fresh one is not remembered
// before took is called.
func (w *window) look(m mark) verdict {
	if !w.resuming {
		if m.time < w.newest && w.find(m, w.since(m.time-int64(disorder))) {
			return rewound
		}
		return fresh
	}
	if w.find(m, w.at) || w.at == 0 && w.trimmed && m.time <= w.seen[0].time {
		return again
	}
	w.resuming = false
	return gapped
}

// since is the first of the lines that were read, counted from the end, before
// which there is one that is older than a time.
func (w *window) since(time int64) int {
	n := len(w.seen)
	for n > 0 && w.seen[n-1].time >= time {
		n--
	}
	return n
}

// find looks for a line among those that were read, and goes on after it.
func (w *window) find(m mark, from int) bool {
	n := slices.Index(w.seen[from:], m)
	if n < 0 {
		return false
	}
	w.at = from + n + 1
	w.resuming = w.at < len(w.seen)
	return true
}

// gap says that the stream has ended and the last line that was read has not
// come again.
func (w *window) gap() bool { return w.resuming }

// took remembers a line that was handed on.
func (w *window) took(m mark) {
	if m.time < w.newest-int64(disorder) {
		w.newest = m.time // the node's clock was set back: the next request must ask by it
	}
	w.newest = max(w.newest, m.time)
	w.seen = append(w.seen, m)
	if len(w.seen) > maxSeen+maxSeen/8 {
		w.seen, w.trimmed = append(w.seen[:0], w.seen[len(w.seen)-maxSeen:]...), true
	}
}

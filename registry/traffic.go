package registry

import "sync"

// Traffic counts what pushes and copies do, for who watches or sums up. A nil Traffic counts nothing. It is safe for
// concurrent use; one may be given to several pushes.
type Traffic struct {
	mu      sync.Mutex
	s       Transferred
	growing int // blobs that are still being made
}

// Transferred is the state of a [Traffic] at one moment. Sizes are in bytes, and of blobs: documents are small.
type Transferred struct {
	// Total is the size of all blobs that there are to bring, as far as it is known; Settled is how much of it is
	// where it belongs, in whatever way it came there.
	Total, Settled int64
	// Sent went over the network to a registry, with what had to be sent twice. Fetched came from one.
	Sent, Fetched int64
	// Growing says that some blobs are still being made, so that Total will grow.
	Growing bool
	// Moved are the blobs that were sent, There those that the repository had, Mounted those that it took over from
	// another repository. Of the last two, no byte was sent.
	Moved, There, Mounted Tally
}

// Tally is a number of blobs and the sum of their sizes in bytes.
type Tally struct {
	Blobs int
	Bytes int64
}

// Plus sums up two transfers.
func (t Transferred) Plus(o Transferred) Transferred {
	return Transferred{
		Total: t.Total + o.Total, Settled: t.Settled + o.Settled, Sent: t.Sent + o.Sent, Fetched: t.Fetched + o.Fetched,
		Growing: t.Growing || o.Growing, Moved: t.Moved.plus(o.Moved), There: t.There.plus(o.There), Mounted: t.Mounted.plus(o.Mounted),
	}
}

func (t Tally) plus(o Tally) Tally { return Tally{t.Blobs + o.Blobs, t.Bytes + o.Bytes} }

func (t *Tally) add(size int64) { t.Blobs, t.Bytes = t.Blobs+1, t.Bytes+size }

// Now returns the state at this moment.
func (t *Traffic) Now() Transferred {
	if t == nil {
		return Transferred{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.s
	now.Growing = t.growing > 0
	return now
}

// Has counts a blob that a repository is known to have, so that nobody asks for it.
func (t *Traffic) Has(size int64) {
	t.change(func(s *Transferred) {
		s.Total, s.Settled = s.Total+size, s.Settled+size
		s.There.add(size)
	})
}

// change changes the state under its lock.
func (t *Traffic) change(f func(*Transferred)) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.s)
}

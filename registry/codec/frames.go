package codec

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// frameWriter writes a stream of zstd frames, one per part, and compresses several of them at a time. They are
// written in their order by a goroutine of its own, so that who writes does not wait for who reads.
type frameWriter struct {
	encoder *zstd.Encoder
	part    []byte
	free    chan []byte      // for parts
	made    chan []byte      // for frames
	order   chan chan []byte // of the frames that are being made
	done    chan struct{}    // closed when all frames are written
	first   bool             // something was written
	closed  bool

	mu  sync.Mutex
	err error // of writing
}

func newFrameWriter(w io.Writer, level int) (*frameWriter, error) {
	n := parts()
	f := &frameWriter{free: make(chan []byte, n+1), made: make(chan []byte, n+1), order: make(chan chan []byte, n), done: make(chan struct{})}
	var err error
	f.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithEncoderConcurrency(n), // calls of EncodeAll at a time
		zstd.WithEncoderCRC(false))     // digests say more
	if err != nil {
		return nil, err
	}
	for range n + 1 {
		f.free <- nil // made when they are needed: most layers are small
		f.made <- nil
	}
	f.part = <-f.free
	go f.write(w)
	return f, nil
}

// Write takes bytes, and waits while all cores are busy.
func (f *frameWriter) Write(p []byte) (int, error) {
	if f.closed {
		return 0, io.ErrClosedPipe
	}
	n := 0
	for len(p) > 0 {
		take := min(len(p), partSize-len(f.part))
		f.part = append(f.part, p[:take]...)
		p, n = p[take:], n+take
		if len(f.part) == partSize {
			if err := f.compress(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// compress has the part compressed and takes a fresh one.
func (f *frameWriter) compress() error {
	if err := f.failed(); err != nil {
		return err
	}
	part, out, frame := f.part, <-f.made, make(chan []byte, 1)
	f.first = true
	f.order <- frame
	go func() {
		frame <- f.encoder.EncodeAll(part, out[:0])
		f.free <- part[:0]
	}()
	f.part = <-f.free
	return nil
}

func (f *frameWriter) write(w io.Writer) {
	defer close(f.done)
	for frame := range f.order {
		data := <-frame
		if f.failed() == nil {
			if _, err := w.Write(data); err != nil {
				f.mu.Lock()
				f.err = err
				f.mu.Unlock()
			}
		}
		f.made <- data
	}
}

func (f *frameWriter) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Close writes what is left, and returns when all is written. Nothing at all is one empty frame.
func (f *frameWriter) Close() error {
	if f.closed {
		return f.failed()
	}
	f.closed = true
	var err error
	if len(f.part) > 0 || !f.first {
		err = f.compress()
	}
	close(f.order)
	<-f.done
	if ferr := f.failed(); ferr != nil {
		err = ferr
	}
	return err
}

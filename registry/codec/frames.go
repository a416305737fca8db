package codec

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// frames is what the writers of one Codec share: an encoder, which compresses as many parts at a time as there are
// cores, for all writers together, and the memory of parts and frames, which would else be garbage after each layer.
type frames struct {
	level int

	once    sync.Once
	encoder *zstd.Encoder
	err     error

	parts, made sync.Pool // of *[]byte
}

// frameWriter writes a stream of zstd frames, one per part, and compresses several of them at a time. They are
// written in their order by a goroutine of its own, so that who writes does not wait for who reads.
type frameWriter struct {
	*frames
	part   *[]byte           // being filled; nil when nothing is in it
	order  chan chan *[]byte // of the frames that are being made
	done   chan struct{}     // closed when all frames are written
	any    bool              // something was written
	closed bool

	mu  sync.Mutex
	err error // of writing
}

func (f *frames) writer(w io.Writer) (*frameWriter, error) {
	f.once.Do(func() {
		f.encoder, f.err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(f.level)),
			zstd.WithEncoderConcurrency(parts()), // calls of EncodeAll at a time
			zstd.WithEncoderCRC(false))           // digests say more
	})
	if f.err != nil {
		return nil, f.err
	}
	fw := &frameWriter{frames: f, order: make(chan chan *[]byte, parts()), done: make(chan struct{})}
	go fw.write(w)
	return fw, nil
}

// take is an empty buffer out of a pool. Buffers of small layers stay small.
func take(p *sync.Pool) *[]byte {
	if b, ok := p.Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	return new([]byte)
}

// Write takes bytes, and waits while all cores are busy.
func (w *frameWriter) Write(p []byte) (int, error) {
	if w.closed {
		return 0, io.ErrClosedPipe
	}
	n := 0
	for len(p) > 0 {
		if w.part == nil {
			w.part = take(&w.parts)
		}
		size := min(len(p), partSize-len(*w.part))
		*w.part = append(*w.part, p[:size]...)
		p, n = p[size:], n+size
		if len(*w.part) == partSize {
			if err := w.compress(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// compress has the part compressed.
func (w *frameWriter) compress() error {
	if err := w.failed(); err != nil {
		return err
	}
	part, frame := w.part, make(chan *[]byte, 1)
	w.part, w.any = nil, true
	if part == nil {
		part = new([]byte)
	}
	w.order <- frame
	go func() {
		out := take(&w.made)
		*out = w.encoder.EncodeAll(*part, *out)
		frame <- out
		w.parts.Put(part)
	}()
	return nil
}

func (w *frameWriter) write(to io.Writer) {
	defer close(w.done)
	for frame := range w.order {
		data := <-frame
		if w.failed() == nil {
			if _, err := to.Write(*data); err != nil {
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
			}
		}
		w.made.Put(data)
	}
}

func (w *frameWriter) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close writes what is left, and returns when all is written. Nothing at all is one empty frame.
func (w *frameWriter) Close() error {
	if w.closed {
		return w.failed()
	}
	w.closed = true
	var err error
	if w.part != nil || !w.any {
		err = w.compress()
	}
	close(w.order)
	<-w.done
	if failed := w.failed(); failed != nil {
		err = failed
	}
	return err
}

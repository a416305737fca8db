package export

import (
	"context"
	"io"
	"os"
	"sync"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is a layer that is being written to a file. Its methods may be called concurrently, while the call of
// [Receiver.Layer] that it was given to lasts.
type Layer struct {
	file *os.File

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when one of the following changes
	size    int64
	desc    *ocispecs.Descriptor // once it is whole
	err     error                // why it will not become whole
}

func newLayer(file *os.File) *Layer { return &Layer{file: file, changed: make(chan struct{})} }

// change changes the state and wakes who waits for it.
func (l *Layer) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Layer) grown(size int64) { l.change(func() { l.size = size }) }

func (l *Layer) done(desc ocispecs.Descriptor) {
	l.change(func() { l.size, l.desc = desc.Size, &desc })
}

func (l *Layer) end(err error) {
	l.change(func() {
		if l.desc == nil {
			l.err = err
		}
	})
}

func (l *Layer) whole() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.desc != nil
}

// wait returns when more than have bytes are there, or when the layer is whole, or with the reason why it will not be.
// stop ends the wait with ok false.
func (l *Layer) wait(have int64, stop <-chan struct{}) (size int64, desc *ocispecs.Descriptor, ok bool, err error) {
	for {
		l.mu.Lock()
		size, desc, err = l.size, l.desc, l.err
		changed := l.changed
		l.mu.Unlock()
		if err != nil || desc != nil || size > have {
			return size, desc, true, err
		}
		select {
		case <-changed:
		case <-stop:
			return size, nil, false, nil
		}
	}
}

// Reached waits until more than size bytes are there (true), or until the layer is whole (false). Errors: ErrDropped,
// or the context's.
func (l *Layer) Reached(ctx context.Context, size int64) (bool, error) {
	got, _, ok, err := l.wait(size, ctx.Done())
	if !ok {
		err = context.Cause(ctx)
	}
	return got > size, err
}

// Done waits until the layer is whole. Errors: ErrDropped, or the context's.
func (l *Layer) Done(ctx context.Context) (ocispecs.Descriptor, error) {
	for have := int64(0); ; {
		got, desc, ok, err := l.wait(have, ctx.Done())
		switch {
		case !ok:
			return ocispecs.Descriptor{}, context.Cause(ctx)
		case err != nil:
			return ocispecs.Descriptor{}, err
		case desc != nil:
			return *desc, nil
		}
		have = got
	}
}

// Open reads the layer from an offset on. A read waits for bytes that are not there yet; io.EOF is the end of the whole
// layer. Close ends a read that waits.
func (l *Layer) Open(offset int64) (io.ReadCloser, error) {
	return &layerReader{layer: l, at: offset, closed: make(chan struct{})}, nil
}

type layerReader struct {
	layer  *Layer
	at     int64
	once   sync.Once
	closed chan struct{}
}

// Read reads what is there, or waits for it.
func (r *layerReader) Read(p []byte) (int, error) {
	size, desc, ok, err := r.layer.wait(r.at, r.closed)
	switch {
	case !ok:
		return 0, os.ErrClosed
	case err != nil:
		return 0, err
	case r.at >= size && desc != nil:
		return 0, io.EOF
	}
	if left := size - r.at; int64(len(p)) > left {
		p = p[:left]
	}
	n, err := r.layer.file.ReadAt(p, r.at)
	r.at += int64(n)
	if n > 0 {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the file is shorter than was said
	}
	return 0, err
}

// Close ends the reader.
func (r *layerReader) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

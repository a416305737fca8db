package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

const (
	// filesReadAhead is how many files of a layer are read before their turn comes.
	filesReadAhead = 64
	// wholeFile is the size, in bytes, up to which a file is read whole before its turn comes; of a larger one only
	// the beginning waits, in the kernel.
	wholeFile = 64 << 10
)

// hasContent says that a reader stands for the entry in a layer.
func (e Entry) hasContent() bool { return e.Mode.Type() == 0 && e.Open != nil }

// filesAhead opens the files of a layer in a goroutine of its own, so that one core looks for small files while another
// one compresses.
type filesAhead struct {
	cancel context.CancelFunc
	queue  chan openedFile
}

type openedFile struct {
	io.ReadCloser
	err error
}

// readAhead begins with the first entry that has content. Who calls it takes one file after the other with next, and
// ends with stop.
func readAhead(ctx context.Context, entries []Entry) *filesAhead {
	ctx, cancel := context.WithCancel(ctx)
	f := &filesAhead{cancel: cancel, queue: make(chan openedFile, filesReadAhead)}
	go func() {
		defer close(f.queue)
		for _, e := range entries {
			if ctx.Err() != nil {
				return
			}
			if e.hasContent() {
				f.queue <- open(e)
			}
		}
	}()
	return f
}

func open(e Entry) openedFile {
	rc, err := e.Open()
	if err != nil || e.Size > wholeFile {
		return openedFile{rc, err}
	}
	defer rc.Close()
	data := bytes.NewBuffer(make([]byte, 0, e.Size+1+bytes.MinRead))
	if _, err = io.CopyN(data, rc, e.Size+1); err == nil { // one more than there should be: the file has grown
		err = io.EOF
	}
	return openedFile{io.NopCloser(&endedReader{data, err}), nil}
}

// endedReader delivers bytes that were read before, and then the error that came after them.
type endedReader struct {
	data *bytes.Buffer
	err  error
}

func (r *endedReader) Read(p []byte) (int, error) {
	if r.data.Len() == 0 {
		return 0, r.err
	}
	return r.data.Read(p)
}

// next is the file of the next entry that has content. The caller closes it.
func (f *filesAhead) next() (io.ReadCloser, error) {
	file, ok := <-f.queue
	if !ok {
		return nil, context.Canceled
	}
	return file.ReadCloser, file.err
}

// stop closes what was opened and not taken. No file is opened after it has returned.
func (f *filesAhead) stop() {
	f.cancel()
	for file := range f.queue {
		if file.err == nil {
			file.Close()
		}
	}
}

// copyExactly copies a file that must be what its entry says.
func copyExactly(w io.Writer, r io.Reader, e Entry) error {
	var hash digest.Digester // nil when the digest is not known
	if e.Digest != "" {
		if err := e.Digest.Validate(); err != nil {
			return err
		}
		hash = e.Digest.Algorithm().Digester()
		w = io.MultiWriter(w, hash.Hash())
	}
	n, err := io.Copy(w, io.LimitReader(r, e.Size))
	if err != nil {
		return err
	}
	more, err := io.ReadFull(r, make([]byte, 1)) // a reader that checks its bytes says at the end what it found
	if err != nil && err != io.EOF {
		return err
	}
	if n != e.Size || more > 0 {
		return fmt.Errorf("%w: it had %d bytes", ErrFileChanged, e.Size)
	}
	if hash != nil && hash.Digest() != e.Digest {
		return fmt.Errorf("%w: its digest was %s", ErrFileChanged, e.Digest)
	}
	return nil
}

// contextReader ends the reading of a large file when the build is cancelled.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

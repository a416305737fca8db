package registry

import (
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// verified returns rc with an error at its end if it is not what desc says.
func verified(rc io.ReadCloser, desc ocispecs.Descriptor) io.ReadCloser {
	return &verifiedReader{ReadCloser: rc, desc: desc, left: desc.Size, verifier: desc.Digest.Verifier()}
}

type verifiedReader struct {
	io.ReadCloser
	desc     ocispecs.Descriptor
	left     int64
	verifier digest.Verifier
}

func (r *verifiedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > r.left+1 {
		p = p[:r.left+1]
	}
	n, err := r.ReadCloser.Read(p)
	r.left -= int64(n)
	if r.left == 0 && n > 0 && err == nil {
		more, after := io.ReadFull(r.ReadCloser, make([]byte, 1))
		if r.left -= int64(more); errors.Is(after, ErrBadAnswer) {
			return 0, after
		}
	}
	_, _ = r.verifier.Write(p[:n]) // a hash has no errors
	switch {
	case r.left < 0:
		return 0, badAnswer("blob %s is larger than its %d bytes", r.desc.Digest, r.desc.Size)
	case err == io.EOF && r.left > 0:
		return n, badAnswer("blob %s has only %d of its %d bytes", r.desc.Digest, r.desc.Size-r.left, r.desc.Size)
	case r.left == 0 && (n > 0 || err == io.EOF) && !r.verifier.Verified():
		// Now and not at the end of the stream: who knows the size (net/http
		// with a Content-Length) may not read on to see that. And without the
		// last bytes, so that nobody has all of what is wrong.
		return 0, badAnswer("blob %s has other content than its digest says", r.desc.Digest)
	}
	return n, err
}

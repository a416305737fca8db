package embed

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/typeurl/v2"
	"github.com/klauspost/pgzip"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// registerGunzip makes containerd's unpacking of gzipped layers read ahead: while files are written, another
// core decompresses. containerd decompresses with the standard library on the goroutine that writes, unless
// it finds igzip or unpigz on PATH, and a cold build spends most of its time there. The list of processors
// belongs to containerd and to the whole process, so this is done once.
var registerGunzip = sync.OnceFunc(func() {
	diff.RegisterProcessor(func(ctx context.Context, mediaType string) (diff.StreamProcessorInit, bool) {
		name, err := images.DiffCompression(ctx, mediaType)
		return newGunzip, err == nil && name == "gzip"
	})
})

// gunzip is a stream processor from a gzipped layer to a plain one.
type gunzip struct{ io.ReadCloser }

func newGunzip(_ context.Context, stream diff.StreamProcessor, _ map[string]typeurl.Any) (diff.StreamProcessor, error) {
	in := bufio.NewReaderSize(stream, 1<<20)
	if magic, _ := in.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		// what is called gzip is not always that; containerd looks at the bytes too
		r, err := compression.DecompressStream(in)
		return gunzip{r}, err
	}
	const block, ahead = 512 << 10, 8 // bytes, blocks
	r, err := pgzip.NewReaderN(in, block, ahead)
	return gunzip{r}, err
}

// MediaType implements diff.StreamProcessor.
func (gunzip) MediaType() string { return ocispecs.MediaTypeImageLayer }

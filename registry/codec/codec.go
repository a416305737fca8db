package codec

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"time"

	"github.com/klauspost/pgzip"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Names of the ways to compress, as `--compression` and BuildKit's exporters call them.
const (
	Zstd         = "zstd"
	Gzip         = "gzip"
	Uncompressed = "uncompressed"
)

// Names lists the ways to compress, the default first.
func Names() []string { return []string{Zstd, Gzip, Uncompressed} }

// Codec is a way to compress at a level. The zero value is none; [New] makes one. Writers of one Codec share their
// memory, so who compresses many layers makes one Codec for all of them. It is safe for concurrent use.
type Codec struct {
	name   string
	level  int
	frames *frames // of zstd
}

// Default levels. 423 MB of wheels (numpy, scipy, pandas, pyarrow, scikit-learn) take, in CPU time: zstd at level 1
// 1.7 s (131 MB come out), at 3 2.3 s (122 MB); gzip at 2 2.2 s (147 MB), at 4 3.1 s (138 MB), at 5 3.6 s (134 MB), at
// 6 3.9 s (132 MB).
const (
	zstdLevel = 1
	gzipLevel = 4
)

// New returns the way to compress of that name. Level 0 is the default one; gzip has 1 to 9, zstd 1 to 22.
func New(name string, level int) (Codec, error) {
	most := map[string]int{Zstd: 22, Gzip: 9, Uncompressed: 0}
	max, ok := most[name]
	switch {
	case !ok:
		return Codec{}, fmt.Errorf("unknown compression %q (there are zstd, gzip and uncompressed)", name)
	case level < 0 || level > max && max > 0:
		return Codec{}, fmt.Errorf("%s has the levels 1 to %d, and not %d", name, max, level)
	case level > max:
		return Codec{}, fmt.Errorf("%s has no levels", name)
	case level == 0 && name == Zstd:
		level = zstdLevel
	case level == 0 && name == Gzip:
		level = gzipLevel
	}
	c := Codec{name: name, level: level}
	if name == Zstd {
		c.frames = &frames{level: level}
	}
	return c, nil
}

// Name is zstd, gzip or uncompressed.
func (c Codec) Name() string { return c.name }

// Level is the level, 0 where there is none.
func (c Codec) Level() int { return c.level }

// MediaType is OCI's media type of a layer that is compressed this way.
func (c Codec) MediaType() string {
	switch c.name {
	case Zstd:
		return ocispecs.MediaTypeImageLayerZstd
	case Gzip:
		return ocispecs.MediaTypeImageLayerGzip
	}
	return ocispecs.MediaTypeImageLayer
}

// Key names the bytes that come out for the same bytes in: it is part of every key under which a made layer is
// remembered. Whoever changes these bytes (a library in a new version, the size of the parts) changes revision;
// TestBytes notices.
func (c Codec) Key() string { return c.name + "-" + strconv.Itoa(c.level) + "/" + revision }

const revision = "2"

// most parts that are compressed at a time: each takes some 20 MB of memory.
const maxParts = 8

// partSize is how many bytes one core compresses at a time. Smaller parts cost size: what is in one knows nothing of
// the others.
const partSize = 4 << 20

// NewWriter returns a writer that compresses into w. Close ends the stream and does not close w. Both have to be
// called by one goroutine at a time.
func (c Codec) NewWriter(w io.Writer) (io.WriteCloser, error) {
	switch c.name {
	case Zstd:
		return c.frames.writer(w)
	case Gzip:
		gz, err := pgzip.NewWriterLevel(w, c.level)
		if err != nil {
			return nil, err
		}
		gz.ModTime = time.Unix(0, 0) // the zero time.Time would be written as 2042
		return gz, gz.SetConcurrency(1<<20, 2*parts())
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// parts is how many parts are compressed side by side here.
func parts() int { return min(runtime.GOMAXPROCS(0), maxParts) }

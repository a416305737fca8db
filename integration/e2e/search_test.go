//go:build integration

package e2e

import (
	"archive/zip"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// around is how many bytes are shown on both sides of what was found. No needle is longer.
const around = 100

// search looks for any of some texts in what readers give. It has room for one reader at a time, for all that a test
// looks through.
type search struct {
	needles [][]byte
	window  []byte
	in      *bufio.Reader
}

func newSearch(needles ...[]byte) *search {
	return &search{needles: needles, window: make([]byte, 0, 1<<20), in: bufio.NewReaderSize(nil, 1<<16)}
}

// unpacked looks for the texts in what a reader gives, also in what it unpacks to, and shows the first place.
func (s *search) unpacked(r io.Reader) (string, error) {
	s.in.Reset(r)
	head, err := s.in.Peek(4)
	if err != nil && err != io.EOF {
		return "", err
	}
	var unpack func(io.Reader) (io.Reader, error)
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		unpack = func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		unpack = func(r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1)) // one that has no goroutines to end
		}
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		unpack = unzip
	default:
		return s.scan(s.in)
	}
	packed := &bytes.Buffer{}
	if where, err := s.scan(io.TeeReader(s.in, packed)); where != "" || err != nil {
		return where, err
	}
	plain, err := unpack(packed)
	if err != nil {
		return "", nil // it only begins like one
	}
	where, err := s.unpacked(plain)
	if err != nil {
		return where, nil // as far as it can be unpacked: an upload may have been broken off
	}
	return where, nil
}

// unzip is all files of an archive, one after the other.
func unzip(r io.Reader) (io.Reader, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	var all []io.Reader
	for _, f := range archive.File {
		file, err := f.Open()
		if err != nil {
			return nil, err
		}
		all = append(all, strings.NewReader(f.Name+"\n"), file)
	}
	return io.MultiReader(all...), nil
}

// scan looks for the texts in the bytes as they are.
func (s *search) scan(r io.Reader) (string, error) {
	window := s.window[:0]
	for {
		n, err := io.ReadFull(r, window[len(window):cap(window)])
		window = window[:len(window)+n]
		for _, needle := range s.needles {
			if at := bytes.Index(window, needle); at >= 0 {
				return fmt.Sprintf("%q", window[max(0, at-around):min(len(window), at+len(needle)+around)]), nil
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		window = window[:copy(window, window[len(window)-around:])]
	}
}

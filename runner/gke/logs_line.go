package gke

import (
	"bufio"
	"bytes"
	"errors"
	"hash/maphash"
	"io"
	"time"
)

// MaxLine is the most of one line, in bytes, that a Line holds. A longer line
// comes as several Lines, all but the last with More. The node joins the 16 KiB
// parts in which container runtimes keep long lines, so there is no other limit:
// a progress bar that only writes \r is one line until it ends.
const MaxLine = 64 << 10

// mark stands for a line that was read: its time, and a sum of its first
// MaxLine bytes.
type mark struct {
	time int64 // nanoseconds since 1970
	sum  uint64
}

// piece is a line as it comes from the node, or a part of it.
type piece struct {
	stamped bool   // begins with a time, as all but the node's own words do
	mark    mark   // of the line that it belongs to
	text    []byte // without time and line's end; valid until the next read
	first   bool   // of its line
	last    bool   // of its line
	ended   bool   // with a line's end; false for the last words before a connection ends
}

// lineReader splits a stream of log lines with times into pieces.
type lineReader struct {
	r    *bufio.Reader
	seed maphash.Seed
	open bool // the next piece belongs to the same line
	mark mark
}

// stampSize is the room that a line's time and the blank after it take.
const stampSize = len("2006-01-02T15:04:05.000000000+00:00 ")

func newLineReader(r io.Reader, seed maphash.Seed) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, MaxLine+stampSize), seed: seed}
}

// next reads one piece. At the end of the stream it returns what is there
// together with the error.
func (l *lineReader) next() (piece, error) {
	raw, err := l.r.ReadSlice('\n')
	if len(raw) == 0 {
		return piece{}, err
	}
	p := piece{first: !l.open, last: !errors.Is(err, bufio.ErrBufferFull)}
	p.text, p.ended = bytes.CutSuffix(raw, []byte("\n"))
	if !p.last {
		err = nil
	}
	if p.first {
		l.mark = mark{}
		var at time.Time
		if at, p.text, p.stamped = cutStamp(p.text); p.stamped {
			l.mark.time = at.UnixNano()
		}
		l.mark.sum = maphash.Bytes(l.seed, p.text)
	}
	p.mark, l.open = l.mark, !p.last
	return p, err
}

// cutStamp splits a line into the time that the node puts before it, and the
// program's text. The text may be empty, and hold any bytes.
func cutStamp(line []byte) (at time.Time, text []byte, ok bool) {
	n := bytes.IndexByte(line[:min(len(line), stampSize)], ' ')
	if n < 0 {
		return time.Time{}, line, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(line[:n]))
	if err != nil || at.Year() < 1970 || at.Year() > 2200 { // what UnixNano can count
		return time.Time{}, line, false
	}
	return at, line[n+1:], true
}

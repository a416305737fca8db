package gke

import (
	"bytes"
	"hash/maphash"
	"io"
	"slices"
	"testing"
)

// FuzzLogLine reads any bytes as a log: no panic, no byte lost.
func FuzzLogLine(f *testing.F) {
	f.Add([]byte("2026-11-23T04:00:00.123456789Z hello\n2026-11-23T04:00:00Z \nno time\nlast"), 3)
	f.Add([]byte("\n\n \n9999-99-99T00:00:00Z x\n0001-01-01T00:00:00Z y\n"), 1)
	f.Add(append([]byte("2026-11-23T04:00:00Z "), bytes.Repeat([]byte("a"), 2*MaxLine)...), 4096)
	f.Fuzz(func(t *testing.T, data []byte, chunk int) {
		lines := newLineReader(&slow{data, max(1, abs(chunk%9000))}, maphash.MakeSeed())
		var back []byte
		for {
			p, err := lines.next()
			if len(p.text) > MaxLine+stampSize {
				t.Fatalf("a piece of %d bytes", len(p.text))
			}
			back = append(back, p.text...)
			if p.ended {
				back = append(back, '\n')
			}
			if err != nil {
				break
			}
		}
		var want []byte
		for line := range bytes.Lines(data) {
			if _, text, ok := cutStamp(bytes.TrimSuffix(line, []byte("\n"))); ok {
				line = append(slices.Clone(text), line[len(bytes.TrimSuffix(line, []byte("\n"))):]...)
			}
			want = append(want, line...)
		}
		if !bytes.Equal(back, want) {
			t.Errorf("%.80q became %.80q", want, back)
		}
	})
}

// slow gives a few bytes at a time.
type slow struct {
	data []byte
	most int
}

func (s *slow) Read(b []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.most)], s.data)
	s.data = s.data[n:]
	return n, nil
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

package gke

import (
	"slices"
	"testing"
	"time"
)

// TestWindow reads the lines a to f, as times and texts, and then others.
func TestWindow(t *testing.T) {
	line := func(second int, text byte) mark { return mark{int64(second) * int64(time.Second), uint64(text)} }
	start := func() *window {
		w := &window{}
		for n := range 6 {
			w.took(line(100+n, byte('a'+n)))
		}
		return w
	}
	for _, c := range []struct {
		name   string
		change func(*window)
		lines  []mark
		want   []verdict
		gap    bool
	}{
		{"goes on", nil, []mark{line(106, 'g')}, []verdict{fresh}, false},
		{"opened again", (*window).reopened, []mark{line(104, 'e'), line(105, 'f'), line(105, 'f')}, []verdict{again, again, fresh}, false},
		{"opened again, nothing comes", (*window).reopened, nil, nil, true},
		{"opened again, another file", (*window).reopened, []mark{line(200, 'x'), line(201, 'y')}, []verdict{gapped, fresh}, false},
		{"opened again, ends early", (*window).reopened, []mark{line(104, 'e')}, []verdict{again}, true},
		{"the same text again", (*window).reopened, []mark{line(105, 'f'), line(106, 'f')}, []verdict{again, fresh}, false},
		{"the file once more", nil, []mark{line(102, 'c'), line(103, 'd'), line(104, 'e'), line(105, 'f'), line(106, 'g')}, []verdict{rewound, again, again, again, fresh}, false},
		{"the file once more, after less than a second", func(w *window) { w.took(mark{line(105, 0).time + 1, 'g'}); w.took(mark{line(105, 0).time + 2, 'h'}) },
			[]mark{{line(105, 0).time + 1, 'g'}, {line(105, 0).time + 2, 'h'}, line(106, 'i')}, []verdict{rewound, again, fresh}, false},
		{"the clock was set back", nil, []mark{line(50, 'g'), line(51, 'h')}, []verdict{fresh, fresh}, false},
		{"a little out of order", nil, []mark{{line(105, 0).time - int64(200*time.Millisecond), 'g'}, line(105, 'h')}, []verdict{fresh, fresh}, false},
		{"older than what is remembered", func(w *window) { w.trimmed = true; w.reopened() }, []mark{line(99, 'z'), line(100, 'a'), line(101, 'b')}, []verdict{again, again, again}, true},
	} {
		w := start()
		if c.change != nil {
			c.change(w)
		}
		var got []verdict
		for _, m := range c.lines {
			v := w.look(m)
			got = append(got, v)
			if v == fresh || v == gapped {
				w.took(m)
			}
		}
		if !slices.Equal(got, c.want) || w.gap() != c.gap {
			t.Errorf("%s: %v, gap %v", c.name, got, w.gap())
		}
	}
}

func TestWindowIsBounded(t *testing.T) {
	w := &window{}
	for n := range 3 * maxSeen {
		w.took(mark{time.Unix(1_790_000_000, int64(n)).UnixNano(), uint64(n)})
	}
	if len(w.seen) > maxSeen*9/8 || !w.trimmed || w.seen[len(w.seen)-1].sum != 3*maxSeen-1 {
		t.Errorf("%d lines, trimmed %v", len(w.seen), w.trimmed)
	}
	w.reopened()
	if v := w.look(mark{time.Unix(1_790_000_000, 5).UnixNano(), 5}); v != again {
		t.Errorf("%v for a line that was dropped", v)
	}
}

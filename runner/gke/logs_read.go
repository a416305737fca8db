package gke

import (
	"context"
	"io"
	"strconv"
	"time"
)

// unfinished is a line that was handed on in part.
type unfinished struct {
	open bool
	mark mark
	sent int // bytes of it that were handed on
}

// parameters are those of the next request.
func (s *stream) parameters(follow bool) map[string]string {
	m := map[string]string{"follow": strconv.FormatBool(follow)}
	o := s.logs.options
	if from := s.window.resume(); !from.IsZero() {
		m["sinceTime"] = from.Format(time.RFC3339)
		return m
	}
	if o.Tail > 0 {
		m["tailLines"] = strconv.Itoa(o.Tail)
	}
	if o.Since > 0 {
		m["sinceSeconds"] = strconv.Itoa(max(1, int(o.Since/time.Second)))
	}
	return m
}

// connection is one answer to a request for a log.
type connection struct {
	*stream
	skip bool // pieces of a line come that was read already
	drop int  // bytes of the line that comes that were handed on already
}

// read reads one connection to its end, which is io.EOF for an orderly one. It
// returns the last words if they have no line's end.
func (s *stream) read(ctx context.Context, follow bool) (rest *piece, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.window.reopened()
	body, err := s.logs.client.open(ctx, s.pod, s.parameters(follow))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	s.silent = false
	var guard *idleGuard
	var bytes io.Reader = body
	if follow {
		guard = newIdleGuard(ctx, s, cancel)
		defer guard.stop()
		bytes = guarded{body, guard}
	}
	c, lines := &connection{stream: s}, newLineReader(bytes, s.seed)
	for {
		p, err := lines.next()
		if err != nil {
			if len(p.text) == 0 || c.skip && !p.first {
				return nil, err
			}
			p.text = c.dropSent(p)
			return &p, err
		}
		s.came = true
		guard.alive(p.mark.time)
		if err := c.take(ctx, p); err != nil {
			return nil, err
		}
	}
}

// dropSent takes off what was handed on of a line before the connection was cut.
func (c *connection) dropSent(p piece) []byte {
	if p.first {
		c.drop = 0
		if c.part.open && c.part.mark == p.mark {
			c.drop = c.part.sent
		}
	}
	n := min(c.drop, len(p.text))
	c.drop -= n
	return p.text[n:]
}

// take hands a piece on, if it is new.
func (c *connection) take(ctx context.Context, p piece) error {
	if p.first {
		if !p.stamped {
			c.skip = true
			return c.unstamped(ctx, p)
		}
		found := c.window.look(p.mark)
		if c.skip = found == again || found == rewound; c.skip {
			if found == rewound {
				return c.note(ctx, lossText)
			}
			return nil
		}
		if err := c.beforeNew(ctx, p, found); err != nil {
			return err
		}
	}
	if c.skip {
		return nil
	}
	text := c.dropSent(p)
	if len(text) == 0 && !p.last {
		return nil
	}
	line := c.line(time.Unix(0, p.mark.time), text)
	line.More = !p.last
	if err := c.logs.emit(ctx, line); err != nil {
		return err
	}
	if p.last {
		c.part = unfinished{}
		c.window.took(p.mark)
		return nil
	}
	if !c.part.open {
		c.part = unfinished{open: true, mark: p.mark}
	}
	c.part.sent += len(text)
	return nil
}

// beforeNew says what is to be said before a new line: that others may be lost.
func (c *connection) beforeNew(ctx context.Context, p piece, found verdict) error {
	if c.part.open && c.part.mark != p.mark { // its end does not come any more
		end := c.line(time.Unix(0, c.part.mark.time), nil)
		c.part, found = unfinished{}, gapped
		if err := c.logs.emit(ctx, end); err != nil {
			return err
		}
	}
	if found == gapped {
		return c.note(ctx, lossText)
	}
	return nil
}

const lossText = "lines before this one may be missing: they came faster than they were taken, or while the connection was away, and a node gives out the newest 10 MB only"

// unstamped handles a line without a time. After a cut, or where a time was asked
// for, it is the end of a line that began before; else the node itself says
// something.
func (s *stream) unstamped(ctx context.Context, p piece) error {
	if s.window.resuming || s.logs.options.Since > 0 || len(p.text) == 0 {
		return nil
	}
	return s.note(ctx, "the node says: "+oneLine(string(p.text)))
}

func (s *stream) line(at time.Time, text []byte) Line {
	return Line{Slice: s.at.Slice, Index: s.at.Index, Pod: s.pod.Name, Time: at.UTC(), Text: string(text)}
}

// note says something about the output in its place.
func (s *stream) note(ctx context.Context, text string) error {
	line := s.line(time.Now(), []byte(text))
	line.Note = true
	return s.logs.emit(ctx, line)
}

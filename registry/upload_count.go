package registry

// counted is one blob's part of a [Traffic]. It may be told of bytes after all is over: a connection reads on in the
// background.
type counted struct {
	traffic       *Traffic
	total, done   int64 // what it has added to Total and Settled
	growing, over bool
}

// change changes the traffic, unless the blob's part is over.
func (c *counted) change(f func(s *Transferred)) {
	c.traffic.change(func(s *Transferred) {
		if !c.over {
			f(s)
		}
	})
}

// looked adds the blob of a size.
func (c *counted) looked(size int64) {
	c.change(func(s *Transferred) { c.total += size; s.Total += size })
}

// grows adds a blob whose size is not known yet.
func (c *counted) grows() {
	c.change(func(*Transferred) { c.growing = true; c.traffic.growing++ })
}

// whole says that the size is known now.
func (c *counted) whole(size int64) {
	c.change(func(s *Transferred) { c.stopGrowing(); s.Total += size - c.total; c.total = size })
}

func (c *counted) stopGrowing() {
	if c.growing {
		c.growing = false
		c.traffic.growing--
	}
}

// sent counts n bytes that went out, up to an offset of the blob. What is sent again is not done twice.
func (c *counted) sent(n int, offset int64) {
	c.traffic.change(func(s *Transferred) { s.Sent += int64(n) })
	c.change(func(s *Transferred) {
		if c.growing && offset > c.total {
			s.Total += offset - c.total
			c.total = offset
		}
		c.reach(s, offset)
	})
}

func (c *counted) reach(s *Transferred, offset int64) {
	if offset = min(offset, c.total); offset > c.done {
		s.Settled += offset - c.done
		c.done = offset
	}
}

// ended says in which way the whole blob came to its place.
func (c *counted) ended(way func(*Transferred) *Tally) {
	c.change(func(s *Transferred) {
		c.stopGrowing()
		c.reach(s, c.total)
		way(s).add(c.total)
		c.over = true
	})
}

// failed takes the blob out again: nothing of it is where it belongs.
func (c *counted) failed() {
	c.change(func(s *Transferred) {
		c.stopGrowing()
		s.Total -= c.total
		s.Settled -= c.done
		c.over = true
	})
}

func moved(s *Transferred) *Tally   { return &s.Moved }
func there(s *Transferred) *Tally   { return &s.There }
func mounted(s *Transferred) *Tally { return &s.Mounted }

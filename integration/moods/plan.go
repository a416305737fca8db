package moods

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Event is a mood at its time.
type Event struct {
	Mood Mood
	// Nth is which of the mood's requests it happens to, from 1 on. A mood that lasts happens to all of them.
	Nth int
	// Part is where in the body, from 0 to 1.
	Part float64
}

// String says it in words.
func (e Event) String() string {
	if e.Mood.Lasts {
		return e.Mood.Name
	}
	return fmt.Sprintf("%s (request %d of its kind, at %.0f %%)", e.Mood.Name, e.Nth, 100*e.Part)
}

// Plan is what one push or pull meets.
type Plan struct {
	Auth   Auth
	Events []Event
	// Growing says that the largest layer is sent while it is made, Old that the tags stand for another image before.
	Growing, Old bool
	// Chunked says that blobs go up in parts.
	Chunked bool
}

// mostEvents are few enough for a client to have attempts left: it need not survive everything at once.
const mostEvents = 2

// Draw returns a plan for a way, the same one for the same seed and round. With quick, nothing has to be waited for.
func Draw(seed uint64, round int, way Way, quick bool) Plan {
	r := rand.New(rand.NewPCG(seed, uint64(round)))
	list := slices.DeleteFunc(All(), func(m Mood) bool { return m.Way&way == 0 || quick && m.Slow })
	p := Plan{Auth: Auth(r.IntN(3)), Growing: r.IntN(2) == 0, Old: r.IntN(2) == 0, Chunked: r.IntN(3) == 0}
	// The first mood goes through the list, so that all of them have their turn.
	first := list[(round+int(seed%uint64(len(list))))%len(list)]
	p.Events = append(p.Events, Event{first, 1 + r.IntN(3), r.Float64()})
	for range r.IntN(mostEvents) {
		p.Events = append(p.Events, Event{list[r.IntN(len(list))], 1 + r.IntN(3), r.Float64()})
	}
	p.Chunked = p.Chunked || slices.ContainsFunc(p.Events, func(e Event) bool { return e.Mood.Parts })
	return p
}

// CutTwice is a plan in which the requests that carry a blob are cut twice, each at that part of what it has to carry.
func CutTwice(part float64) Plan {
	cut := cuts()[1]
	return Plan{Events: []Event{{cut, 1, part}, {cut, 1, part}}}
}

// May are the kinds of error that a client may end with. None: it has to succeed.
func (p Plan) May() []error {
	var kinds []error
	for _, e := range p.Events {
		kinds = append(kinds, e.Mood.May...)
	}
	return kinds
}

// String says it in words.
func (p Plan) String() string {
	var parts []string
	for _, e := range p.Events {
		parts = append(parts, e.String())
	}
	return fmt.Sprintf("%s; growing: %t, in parts: %t, tags there before: %t; %s", p.Auth, p.Growing, p.Chunked, p.Old, strings.Join(parts, "; "))
}

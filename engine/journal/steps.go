package journal

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// Step is what a builder, or ibuild itself, did in a build.
type Step struct {
	Name string `json:"name"`
	// Start is how many milliseconds after the build's start it began; Took is in milliseconds, too, and -1 when
	// it had not ended when the build did.
	Start  int64  `json:"start"`
	Took   int64  `json:"took"`
	Cached bool   `json:"cached,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Bounds of what is kept of the steps of one build.
const (
	maxSteps = 2000
	maxName  = 1000 // bytes of a name or an error
)

// Steps collects the steps of one build from its progress. It is safe for concurrent use.
type Steps struct {
	start time.Time

	mu    sync.Mutex
	order []digest.Digest
	seen  map[digest.Digest]*client.Vertex
}

// NewSteps returns an empty collection for a build that begins at start.
func NewSteps(start time.Time) *Steps {
	return &Steps{start: start, seen: map[digest.Digest]*client.Vertex{}}
}

// See takes note of a status. BuildKit tells the same step several times, and one may run in several parts: the
// first start and the last end count.
func (s *Steps) See(status *client.SolveStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range status.Vertexes {
		if v.Started == nil {
			continue // it is only announced
		}
		was, ok := s.seen[v.Digest]
		if !ok {
			if len(s.order) == maxSteps {
				continue
			}
			s.order = append(s.order, v.Digest)
			was = &client.Vertex{Started: v.Started}
			s.seen[v.Digest] = was
		}
		if v.Started.Before(*was.Started) {
			was.Started = v.Started
		}
		was.Name, was.Completed, was.Cached, was.Error = v.Name, v.Completed, v.Cached, v.Error
	}
}

// List returns the steps in the order in which they were first told; text makes a name or an error fit to be kept.
func (s *Steps) List(text func(string) string) []Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Step{}
	for _, d := range s.order {
		v := s.seen[d]
		step := Step{Name: Short(text(v.Name)), Error: Short(text(v.Error)), Cached: v.Cached, Took: -1}
		step.Start = max(0, v.Started.Sub(s.start).Milliseconds())
		if v.Completed != nil {
			step.Took = max(0, v.Completed.Sub(*v.Started).Milliseconds())
		}
		list = append(list, step)
	}
	return list
}

// sorted returns the steps by their starts.
func sorted(list []Step) []Step {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Step) int { return cmp.Compare(a.Start, b.Start) })
	return list
}

// Short cuts a text to what a record keeps of it.
func Short(text string) string {
	if len(text) <= maxName {
		return text
	}
	return fmt.Sprintf("%.*s…", maxName/4, text)
}

package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/ibuild/ibuild/registry"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// early is what the registry says about the names of the outputs, asked for while the graph is recorded: a build that
// finds everything known then takes as long as one of the two, and others have a connection and credentials when they
// need them. Each answer is taken once, so that an old one is never taken for a new one.
type early struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	asked map[string]<-chan standing // by name
}

// standing is what a name stands for.
type standing struct {
	at  ocispecs.Descriptor
	err error
}

// askEarly begins to ask for the names, with one HEAD each.
func askEarly(ctx context.Context, c *registry.Client, names []string) *early {
	ctx, cancel := context.WithCancel(ctx)
	e := &early{cancel: cancel, asked: map[string]<-chan standing{}}
	for _, name := range names {
		if e.asked[name] != nil {
			continue
		}
		answer := make(chan standing, 1)
		e.asked[name] = answer
		e.running.Go(func() {
			at, err := c.Head(ctx, name)
			answer <- standing{at, err}
		})
	}
	return e
}

// take returns the answer for a name, nil when it was not asked for or has been taken.
func (e *early) take(name string) <-chan standing {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	answer := e.asked[name]
	delete(e.asked, name)
	return answer
}

// close ends what nobody waits for any more.
func (e *early) close() {
	if e == nil {
		return
	}
	e.cancel()
	e.running.Wait()
}

// earlyNames are those that a build will ask for if it finds its image known. Names that this machine has not pushed
// are not among them: where nothing has changed there are none, and a tag that is not there costs two requests.
func (b *build) earlyNames() (list []string) {
	if !b.mayBeKnown() || b.last == nil {
		return nil
	}
	for _, n := range b.asked.Names {
		if slices.Contains(b.last.Names, n.String()) {
			list = append(list, n.String())
		}
	}
	return list
}

// head takes the answer to what was asked early, or asks now: with Head or Glance of the registry's client.
func (b *build) head(ctx context.Context, name string, ask func(context.Context, string) (ocispecs.Descriptor, error)) (ocispecs.Descriptor, error) {
	answer := b.early.take(name)
	if answer == nil {
		return ask(ctx, name)
	}
	select {
	case s := <-answer:
		return s.at, s.err
	case <-ctx.Done():
		return ocispecs.Descriptor{}, ctx.Err()
	}
}

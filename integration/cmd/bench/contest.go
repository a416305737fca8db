package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/ibuild/ibuild/integration/imagetest"
)

// side is one program in a contest.
type side struct {
	name   string
	image  string       // what it pushes; all sides' images have the same files. Empty: it pushes nothing
	goal   goal         // what ibuild is to reach against it
	slow   bool         // three runs are enough
	leaves []string     // paths that its steps leave behind in an image, and that no step has made
	before func() error // not measured; may be nil
	run    func() error // measured
}

// goal is how many times faster than a side ibuild is to be. The zero goal is none.
type goal struct {
	text   string
	factor float64
}

func times(factor float64) goal { return goal{fmt.Sprintf("≥ %g", factor), factor} }

// atMost is the goal for a side that may be faster than ibuild.
func atMost(factor float64) goal {
	return goal{fmt.Sprintf("≥ %.2f (at most %g times its time)", 1/factor, factor), 1 / factor}
}

// contest is one row of the table. The first side is ibuild.
type contest struct {
	work   string
	change func(number int) error // makes a state of the source that no side has seen; nil: nothing changes
	sides  []side
	large  bool // too large for b.images to keep
}

// slowRuns is how often a slow side runs.
const slowRuns = 3

// hold runs all sides in turns, each being first as often as the others, after one run that is not counted. Each run
// has a change of its own, as sides with one daemon would find what another has just built. Last, all sides build the
// same, and what they push is compared. It prints a row for each peer and returns the medians by name.
func (b *bench) hold(c contest) (map[string]time.Duration, error) {
	took := map[string][]time.Duration{}
	changes := 0
	for run := range b.runs + 1 {
		for i := range c.sides {
			s := c.sides[(run+i)%len(c.sides)]
			if s.slow && run > slowRuns {
				continue
			}
			changes++
			t, err := c.take(s, changes)
			if err != nil {
				return nil, err
			}
			if run > 0 {
				took[s.name] = append(took[s.name], t)
			}
		}
	}
	for _, s := range c.sides {
		if _, err := c.take(s, 0); err != nil {
			return nil, err
		}
	}
	if err := b.sameFiles(c); err != nil {
		return nil, err
	}
	medians := map[string]time.Duration{}
	for name, list := range took {
		medians[name] = median(list)
	}
	for _, s := range c.sides[1:] {
		faster(c.work, medians[c.sides[0].name], s, medians[s.name])
	}
	return medians, nil
}

// take runs a side once on a state of the source. The disk is quiet then: what another side wrote is not counted
// against this one.
func (c contest) take(s side, state int) (time.Duration, error) {
	if c.change != nil {
		if err := c.change(state); err != nil {
			return 0, err
		}
	}
	if s.before != nil {
		if err := s.before(); err != nil {
			return 0, err
		}
	}
	settle(100 * time.Millisecond)
	start := time.Now()
	err := s.run()
	took := time.Since(start)
	if err != nil {
		err = fmt.Errorf("%s: %w", s.name, err)
	}
	return took, err
}

// faster prints how many times faster than a peer ibuild was.
func faster(work string, ours time.Duration, peer side, theirs time.Duration) {
	ratio := float64(theirs) / float64(ours)
	met := ""
	switch {
	case peer.goal == goal{}:
	case ratio >= peer.goal.factor:
		met = ", met"
	default:
		met = ", missed"
	}
	fmt.Printf("| %s | %s | %s | %s | %.2f | %s%s |\n", work, fine(ours), peer.name, fine(theirs), ratio, peer.goal.text, met)
}

// fine is a time with as many digits as tell two fast programs apart.
func fine(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return ms(d)
}

// sameFiles compares what the sides pushed, file by file: contents, modes, owners, links.
func (b *bench) sameFiles(c contest) error {
	pull := b.images.Pull
	if c.large {
		pull = imagetest.Pull
	}
	var want []imagetest.File
	var errs []error
	for _, s := range slices.DeleteFunc(slices.Clone(c.sides), func(s side) bool { return s.image == "" }) {
		img, err := pull(b.ctx, s.image, "linux/"+runtime.GOARCH)
		if err != nil {
			return err
		}
		got, err := imagetest.Files(img)
		if err != nil {
			return fmt.Errorf("%s: %w", s.image, err)
		}
		got = slices.DeleteFunc(got, func(f imagetest.File) bool { return slices.Contains(s.leaves, f.Path) })
		if want == nil {
			want = got
			continue
		}
		if diff := imagetest.Diff(want, got); diff != "" {
			errs = append(errs, fmt.Errorf("%s pushed other files than %s:\n%.2000s", s.name, c.sides[0].name, diff))
		}
	}
	return errors.Join(errs...)
}

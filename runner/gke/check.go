package gke

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// CheckError says all that stands against a job in a cluster, the gravest first.
type CheckError struct {
	Errs []error // each an *Error or a *PlaceError; two or more
}

// Error has a line for each.
func (e *CheckError) Error() string {
	var lines []string
	for _, err := range e.Errs {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns all of them.
func (e *CheckError) Unwrap() []error { return e.Errs }

// Hint says what to do about each, once.
func (e *CheckError) Hint() string {
	var hints []string
	for _, err := range e.Errs {
		hint := ""
		var asked *Error
		var place *PlaceError
		switch {
		case errors.As(err, &asked):
			hint = asked.Hint
		case errors.As(err, &place):
			hint = place.Hint()
		}
		if hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	return strings.Join(hints, "\n")
}

// Check asks the cluster, side by side, all that can be known before a job's image is made: does the cluster answer; is
// the namespace there; may the caller do what submitting and watching takes; is there what the job names (JobSet, a
// queue, Secrets, claims, a service account); do quotas let it pass; and can a pool hold it. Only what cannot be is
// refused: where an autoscaler may make nodes, or something may not be read, the job is let through, and watching says
// if it finds no place. The job needs neither image nor command yet.
//
// Errors: *Error, *PlaceError, or a *CheckError of several.
func (c *Cluster) Check(ctx context.Context, j Job) (Placement, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	r, err := c.reader()
	if err != nil {
		return Placement{}, err
	}
	if j.Namespace == "" {
		j.Namespace = c.Namespace
	}
	k := &check{c: c, r: r, j: j}
	k.ask(ctx)
	if err := k.verdict(); err != nil {
		return Placement{}, err
	}
	k.place.Notes = append(k.place.Notes, k.notes...)
	return k.place, nil
}

// check is one Check.
type check struct {
	c *Cluster
	r reader
	j Job

	mu    sync.Mutex
	errs  []error
	notes []string
	place Placement
}

// ask asks everything at once, and waits for the answers.
func (k *check) ask(ctx context.Context) {
	var group sync.WaitGroup
	questions := []func(context.Context) error{k.namespace, k.placed, k.jobSet, k.queue, k.account, k.quota}
	for _, right := range rightsFor(k.j) {
		questions = append(questions, func(ctx context.Context) error { return k.allowed(ctx, right) })
	}
	if len(jobSecrets(k.j)) == 0 {
		questions = append(questions, k.credentials)
	}
	for _, s := range k.j.Secrets {
		questions = append(questions, func(ctx context.Context) error { return k.secret(ctx, s.Secret) })
	}
	for _, v := range k.j.Volumes {
		if v.Claim != "" {
			questions = append(questions, func(ctx context.Context) error { return k.claim(ctx, v) })
		}
	}
	for _, question := range questions {
		group.Go(func() {
			if err := question(ctx); err != nil {
				k.mu.Lock()
				k.errs = append(k.errs, err)
				k.mu.Unlock()
			}
		})
	}
	group.Wait()
}

func (k *check) placed(ctx context.Context) (err error) {
	k.place, err = k.c.place(ctx, k.r, k.j)
	return err
}

// note keeps something that does not stand against the job.
func (k *check) note(text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notes = append(k.notes, text)
}

// verdict is what stands against the job. A cluster that does not answer, or a
// namespace that is not there, makes all other findings void.
func (k *check) verdict() error {
	slices.SortStableFunc(k.errs, func(a, b error) int {
		return 10*(gravity(a)-gravity(b)) + strings.Compare(a.Error(), b.Error())
	})
	slices.Sort(k.notes)
	switch {
	case len(k.errs) == 0:
		return nil
	case len(k.errs) == 1 || gravity(k.errs[0]) <= gravityAlone:
		return inGeneral(k.errs[0])
	}
	return &CheckError{k.errs}
}

// inGeneral says of a cluster that does not answer, or not this caller, that it
// cannot be asked at all: which of the questions failed first is chance.
func inGeneral(err error) error {
	var e *Error
	if errors.As(err, &e) && (e.Refusal == NoAnswer || e.Refusal == NoAccount) {
		general := *e
		general.Doing = "ask the cluster whether jobs can run"
		return &general
	}
	return err
}

// gravityAlone is the last gravity of errors that make others void.
const gravityAlone = 2

// gravity orders errors, the gravest first.
func gravity(err error) int {
	var e *Error
	if !errors.As(err, &e) {
		return 5
	}
	switch {
	case e.Refusal == NoAnswer:
		return 0
	case e.Refusal == NoAccount:
		return 1
	case e.Refusal == NotThere && strings.HasPrefix(e.Doing, doingNamespace):
		return gravityAlone
	case e.Refusal == NoRights:
		return 3
	}
	return 4
}

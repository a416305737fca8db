package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ibuild/ibuild/runner/bootstrap/results"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/ibuild/ibuild/runner/launch"
)

const (
	// lastLines is how long nothing may come of the output of a job that has ended.
	lastLines = time.Minute
	// farewell is how long the cluster may take for what is said to it after Ctrl-C.
	farewell = 30 * time.Second
)

// follow shows a job until it ends. The error carries its exit code.
func (r *running) follow(ctx context.Context, run *gke.Run) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	read, lines := make(chan error, 1), make(chan struct{}, 1)
	print := newLogPrinter(r.out, r.errs, run)
	go func() {
		read <- run.Logs(reading, gke.LogOptions{Follow: true}, func(l gke.Line) error {
			select {
			case lines <- struct{}{}:
			default:
			}
			return print.write(l)
		})
	}()
	wait := r.cli.Duration("wait")
	state, err := run.Watch(ctx, gke.Deadlines{NoNode: wait, NoPods: wait}, r.tell)
	switch {
	case ctx.Err() != nil:
		stop()
		<-read
		return r.interrupted(context.WithoutCancel(ctx), run)
	case err != nil:
		stop()
		<-read
		return err
	}
	if err := rest(read, lines, stop); err != nil && ctx.Err() == nil {
		fmt.Fprintf(r.errs, "the rest of the output could not be read (%v); %s has it as long as the job is there\n", err, r.command("logs", run.Name))
	}
	return r.end(ctx, run, state)
}

// rest waits for the end of the output of a job that has ended, as long as lines come.
func rest(read <-chan error, lines <-chan struct{}, stop func()) error {
	for {
		select {
		case err := <-read:
			return err
		case <-lines:
		case <-time.After(lastLines):
			stop()
			<-read
			return fmt.Errorf("nothing came for %s", lastLines)
		}
	}
}

// tell says what a job waits for, or that it has gone on. What it failed of is the command's last line; before that a
// job counts as running for a moment, when its programs have ended.
func (r *running) tell(s gke.State) {
	if !s.Lost && (s.Phase == gke.Failed || s.Phase == gke.Cancelled || s.Phase == gke.Running && allEnded(s.Hosts)) {
		return
	}
	text := string(s.Phase)
	if s.Attempt > 1 {
		text += fmt.Sprintf(" (attempt %d)", s.Attempt)
	}
	if s.Message != "" {
		text += ": " + s.Message
	}
	if text == r.told {
		return // what has changed is nothing that is shown
	}
	r.told = text
	say(r.mode, "%s", text)
	if s.Hint != "" && !s.Phase.Ended() {
		say(r.mode, "hint:  %s", s.Hint)
	}
}

func allEnded(hosts []gke.Host) bool {
	return len(hosts) > 0 && !slices.ContainsFunc(hosts, func(h gke.Host) bool { return !h.Phase.Ended() })
}

// end fetches the results of a job that has ended, and turns its state into the command's error.
func (r *running) end(ctx context.Context, run *gke.Run, s gke.State) error {
	if s.Abandoned {
		if err := run.Cancel(ctx); err != nil {
			say(r.mode, "the job could not be cancelled (%v): %s", err, r.command("cancel", run.Name))
		} else {
			say(r.mode, "the job was cancelled, as it would wait for ever")
		}
	}
	failed := r.fetch(ctx, s)
	if s.Phase != gke.Succeeded {
		return errors.Join(&gke.FailedError{Job: run.Name, State: s}, failed)
	}
	return failed
}

// fetch brings the results into the folder that was asked for.
func (r *running) fetch(ctx context.Context, s gke.State) error {
	at := r.job.Facts[launch.ResultsFact]
	if at == "" {
		return nil
	}
	if r.results == "" {
		if slices.ContainsFunc(s.Hosts, func(h gke.Host) bool { return h.Result != "" }) {
			say(r.mode, "the program left results: %s [FOLDER] fetches them", r.command("result", r.job.Name))
		}
		return nil
	}
	var none *launch.NoResultsError
	fetched, err := launch.FetchResults(ctx, r.registry, at, resultHosts(s), results.Target{Folder: r.results})
	for _, f := range fetched {
		if f.Summary.Digest != "" {
			say(r.mode, "results in %s", f.Folder)
		}
	}
	if errors.As(err, &none) {
		say(r.mode, "the program left no results")
		return nil
	}
	if err != nil {
		say(r.mode, "%s FOLDER tries again", r.command("result", r.job.Name))
	}
	return err
}

// interrupted is what happens after Ctrl-C: the job is cancelled, or left running.
func (r *running) interrupted(ctx context.Context, run *gke.Run) error {
	what := r.onInterrupt
	if what == "ask" {
		what = "cancel"
		if terminal(os.Stdin) && terminal(os.Stderr) {
			what = askInterrupt(os.Stdin, r.errs, run.Name)
		}
	}
	if what == "detach" {
		say(r.mode, "job %s goes on: %s comes back to it", run.Name, r.command("logs --follow", run.Name))
		return context.Canceled
	}
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	if err := run.Cancel(ctx); err != nil {
		return fmt.Errorf("job %s may go on, as it could not be cancelled: %w", run.Name, err)
	}
	say(r.mode, "job %s is cancelled%s", run.Name, leftResults(run))
	return context.Canceled
}

// askInterrupt asks what becomes of the job. Who closes the input leaves it running: nothing is lost by that.
func askInterrupt(in io.Reader, out io.Writer, name string) string {
	answers := bufio.NewScanner(in)
	for {
		fmt.Fprintf(out, "\njob %s is running. Cancel it, or detach and let it go on? [c/d] ", name)
		if !answers.Scan() {
			fmt.Fprintln(out)
			return "detach"
		}
		switch strings.ToLower(strings.TrimSpace(answers.Text())) {
		case "c", "cancel":
			return "cancel"
		case "d", "detach":
			return "detach"
		}
	}
}

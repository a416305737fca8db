package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/console"
	"github.com/ibuild/ibuild/engine"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"
)

func progressFlag() cli.Flag {
	return &cli.StringFlag{Name: "progress", Value: "auto", Usage: "`MODE`: auto, tty, plain, quiet or rawjson", EnvVars: []string{"BUILDKIT_PROGRESS"}}
}

// checkProgress refuses modes that there are not, before anything is done.
func checkProgress(c *cli.Context) error {
	_, err := oneOf(c, "progress", "auto", "tty", "plain", "quiet", "rawjson")
	return err
}

// display shows a build's progress until it is closed.
type display struct {
	progress *engine.Progress
	done     chan error
}

// show starts a display of the given mode (auto, tty, plain, quiet, rawjson) on standard error.
func show(ctx context.Context, mode string) (*display, error) {
	mode = settled(mode, os.Getenv)
	d, err := progressui.NewDisplay(os.Stderr, progressui.DisplayMode(mode))
	if err != nil {
		return nil, &usage{msg: fmt.Sprintf("--progress %s: %v", mode, err), hint: "tty needs a terminal; write plain or auto"}
	}
	s := &display{progress: engine.NewProgressFor(look(mode, terminal(os.Stderr))), done: make(chan error, 1)}
	if mode == string(progressui.QuietMode) {
		go func() { s.done <- failures(os.Stderr, s.progress.Statuses()) }()
		return s, nil
	}
	go func() {
		// not ctx: what was going on when the build was cancelled is shown as well
		_, err := d.UpdateFrom(context.WithoutCancel(ctx), s.progress.Statuses())
		s.done <- err
	}()
	return s, nil
}

// settled is the mode without "auto" where that would go wrong: the cells of notebooks have a terminal to write to, but
// they show no line written over another. Jupyter says by a variable that a kernel runs us.
func settled(mode string, getenv func(string) string) string {
	if mode == string(progressui.AutoMode) && getenv("JPY_PARENT_PID") != "" {
		return string(progressui.PlainMode)
	}
	return mode
}

// look is what a display of the mode can show of work under way.
func look(mode string, terminal bool) engine.Look {
	switch {
	case mode == string(progressui.RawJSONMode):
		return engine.LookNumbers
	case terminal && (mode == string(progressui.AutoMode) || mode == string(progressui.TtyMode)):
		return engine.LookTerminal
	}
	return engine.LookLines
}

// failures shows nothing but the last log lines of steps that failed: quiet is for builds that work.
func failures(w io.Writer, statuses <-chan *client.SolveStatus) error {
	const keep = 10 // lines, as BuildKit's displays have it
	logs, told := map[digest.Digest][]byte{}, map[digest.Digest]bool{}
	for s := range statuses {
		for _, l := range s.Logs {
			lines := append(logs[l.Vertex], l.Data...)
			for bytes.Count(lines, []byte("\n")) > keep {
				_, lines, _ = bytes.Cut(lines, []byte("\n"))
			}
			logs[l.Vertex] = lines
		}
		for _, v := range s.Vertexes {
			if v.Error != "" && !told[v.Digest] && !strings.HasSuffix(v.Error, context.Canceled.Error()) {
				told[v.Digest] = true
				fmt.Fprintf(w, "------\n > %s:\n%s\n------\n", v.Name, bytes.TrimRight(logs[v.Digest], "\n"))
			}
		}
	}
	return nil
}

// close waits until everything was shown.
func (d *display) close() {
	d.progress.Close()
	<-d.done
}

// say writes a line for people, unless they asked for quiet or for machine-readable output.
func say(mode string, format string, args ...any) {
	if mode == "quiet" || mode == "rawjson" {
		return
	}
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// terminal says whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(console.File)
	if !ok {
		return false
	}
	_, err := console.ConsoleFromFile(f)
	return err == nil
}

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// row prints one line of the table.
func row(work, ours, peers, ratio, goal string) {
	fmt.Printf("| %s | %s | %s | %s | %s |\n", work, ours, peers, ratio, goal)
}

func median[T interface{ ~int64 | ~float64 }](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }

// ours is an ibuild with an engine state and a cache of the given name. The image goes to an archive, so
// that identity never ends the build early and both sides write the same.
func (b *bench) ours(state string, flags ...string) *exec.Cmd {
	args := append([]string{"build", "--progress", "plain", "-o", "type=oci,dest=" + filepath.Join(b.dir, "ours.tar")}, flags...)
	cmd := exec.CommandContext(b.ctx, b.ibuild, append(args, filepath.Join(b.dir, "context"))...)
	cmd.Env = append(b.env.Environ(), "BUILDKIT_HOST=", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME="+b.dir,
		"IBUILD_ROOT="+filepath.Join(b.dir, state), "IBUILD_CACHE="+filepath.Join(b.dir, state+"-cache"))
	return cmd
}

func (b *bench) peer() *exec.Cmd {
	ctx := filepath.Join(b.dir, "context")
	return exec.CommandContext(b.ctx, b.buildctl, "--addr", b.daemon.addr, "build", "--progress", "plain", "--frontend", "dockerfile.v0",
		"--local", "context="+ctx, "--local", "dockerfile="+ctx, "--output", "type=oci,dest="+filepath.Join(b.dir, "peer.tar"))
}

func timed(cmd *exec.Cmd) (time.Duration, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	return time.Since(start), nil
}

// pair runs both sides in turns, each being first every other time. Before each run the disk is made
// quiet: what the other side wrote or removed is not counted against this one.
func (b *bench) pair(ours func() *exec.Cmd, before func() error) (a, p time.Duration, err error) {
	var mine, theirs []time.Duration
	for i := range b.runs {
		sides := []struct {
			cmd  *exec.Cmd
			took *[]time.Duration
		}{{ours(), &mine}, {b.peer(), &theirs}}
		if i%2 == 1 {
			slices.Reverse(sides)
		}
		if before != nil {
			if err := before(); err != nil {
				return 0, 0, err
			}
		}
		for _, s := range sides {
			settle(time.Second)
			t, err := timed(s.cmd)
			if err != nil {
				return 0, 0, err
			}
			*s.took = append(*s.took, t)
		}
	}
	return median(mine), median(theirs), nil
}

func settle(pause time.Duration) {
	syscall.Sync()
	time.Sleep(pause)
}

// cold builds with nothing in the builder: bases are pulled, steps run. The daemon itself is running. Both
// sides begin with folders that were used and emptied.
func (b *bench) cold() error {
	empty := func() error {
		err := b.empty(b.daemon)
		for _, name := range []string{"cold", "cold-cache"} {
			err = errors.Join(err, os.RemoveAll(filepath.Join(b.dir, name)))
		}
		return err
	}
	a, p, err := b.pair(func() *exec.Cmd { return b.ours("cold") }, empty)
	if err != nil {
		return err
	}
	row("cold build, nothing cached", ms(a), ms(p), fmt.Sprintf("%.2f", float64(a)/float64(p)), "≤ 1")
	return nil
}

// rebuild builds again without a change, in a fresh process that starts the engine.
func (b *bench) rebuild() error {
	for _, cmd := range []*exec.Cmd{b.ours("warm"), b.peer()} {
		if _, err := timed(cmd); err != nil {
			return err
		}
	}
	a, p, err := b.pair(func() *exec.Cmd { return b.ours("warm") }, nil)
	if err != nil {
		return err
	}
	row("rebuild, no change, through the engine, fresh process", ms(a), ms(p), fmt.Sprintf("%.2f", float64(a)/float64(p)), "≤ 1.5")
	return nil
}

// until measures the time from the start of the process to the first output that has a text.
func (b *bench) until(text string) (time.Duration, error) {
	var list []time.Duration
	for range b.runs {
		cmd := b.ours("warm")
		r, w := io.Pipe()
		cmd.Stdout, cmd.Stderr = w, w
		start := time.Now()
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		done := make(chan error, 1)
		go func() { err := cmd.Wait(); w.Close(); done <- err }()
		var at time.Duration
		for s := bufio.NewScanner(r); s.Scan(); {
			if at == 0 && strings.Contains(s.Text(), text) {
				at = time.Since(start)
			}
		}
		if err := <-done; err != nil || at == 0 {
			return 0, fmt.Errorf("%q was not printed (%v)", text, err)
		}
		list = append(list, at)
	}
	return median(list), nil
}

func (b *bench) firstOutput() error {
	t, err := b.until("")
	if err == nil {
		row("process start to first output", ms(t), "", "", "< 100 ms")
	}
	return err
}

// ready is the time from the first output to the line that is printed when the engine takes requests.
func (b *bench) ready() error {
	first, err := b.until("")
	if err != nil {
		return err
	}
	t, err := b.until("builder: in this process")
	if err == nil {
		row("engine ready, after the first output", ms(t-first), "", "", "< 150 ms")
	}
	return err
}

// memory is the peak resident memory of the whole process, engine and frontend included.
func (b *bench) memory() error {
	var list []int64
	for i := range b.runs {
		cmd := b.ours(fmt.Sprintf("memory-%d", i))
		if _, err := timed(cmd); err != nil {
			return err
		}
		list = append(list, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	}
	row("peak memory of that build, cold", fmt.Sprintf("%d MB", median(list)>>10), "", "", "< 150 MB")
	return nil
}

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The rows of the table "Push and pull". What is measured is export and push alone: the steps have run before, in a
// state of the builder that is made anew for each run, and the repository is empty.

// pushContest is a row of two builders. Both build one Dockerfile.
type pushContest struct {
	work     string
	project  project
	registry string   // host:port
	repo     string   // each side has one below it
	flags    []string // of ibuild
	plain    string   // what buildctl's --output says after the name, in both forms
	best     string
	goal     goal
}

// holdPush runs the sides in turns, and prints what they sent and how much memory ibuild took.
func (b *bench) holdPush(c pushContest) error {
	use := &usage{sent: map[string]int64{}}
	defer use.clear() //nolint:errcheck // the folder of all goes with the environment
	sides := []side{
		b.pushOurs(c, use),
		b.pushTheirs(c, use, "buildctl", c.plain, c.goal),
		b.pushTheirs(c, use, "buildctl, best flags", c.best, times(1)),
	}
	if _, err := b.hold(contest{work: c.work, sides: sides, large: true}); err != nil {
		return err
	}
	fmt.Printf("| %s: memory of ibuild at its peak | %d MB | | | | ≤ 300 MB |\n", c.work, use.memory>>20)
	for _, s := range sides {
		fmt.Printf("| %s: sent by %s | %.1f MB | | | | |\n", c.work, s.name, float64(use.sent[s.name])/1e6)
	}
	return nil
}

// usage is what sides took at most.
type usage struct {
	memory int64 // of ibuild, with its children, in bytes
	sent   map[string]int64

	// The state of one side is there at a time: with the wheels in it, it is several GB.
	daemon *daemon // if that side has one
	state  string
}

// clear ends the daemon and removes the state.
func (u *usage) clear() error {
	if u.daemon != nil {
		u.daemon.stop()
		u.daemon = nil
	}
	if u.state == "" {
		return nil
	}
	return os.RemoveAll(u.state)
}

// counted runs a push and counts the bytes of blobs and manifests that the registry got.
func (b *bench) counted(name string, use *usage, push func() error) error {
	mark := b.env.Registry.Mark()
	err := push()
	var sent int64
	for _, r := range b.env.Registry.Requests(mark) {
		sent += r.Sent
	}
	use.sent[name] = max(use.sent[name], sent)
	return err
}

// pushOurs is ibuild with its own engine.
func (b *bench) pushOurs(c pushContest, use *usage) side {
	repo := c.repo + "/ibuild"
	image := c.registry + "/" + repo + ":1"
	m := b.machine("push-ours", "")
	root := filepath.Join(m.dir, "engine")
	source := []string{"-f", c.project.dockerfile(), c.project.context()}
	return side{name: "ibuild", image: image, goal: goal{},
		before: func() error {
			if err := errors.Join(use.clear(), b.emptyRepo(repo)); err != nil {
				return err
			}
			use.state = m.dir
			cmd := m.command(root, image, source...)
			cmd.Args = withoutPush(cmd.Args)
			_, err := timed(cmd)
			return err
		},
		run: func() error {
			return b.counted("ibuild", use, func() error {
				cmd := m.command(root, image, append(c.flags, source...)...)
				peak := watchMemory(cmd)
				_, err := timed(cmd)
				use.memory = max(use.memory, peak())
				return err
			})
		},
	}
}

// watchMemory looks at the most memory that a command has taken, until the function that it returns is called, which
// returns that, in bytes. What the kernel says at the end of a process counts that of the process that has started it,
// too: they share their memory until the program begins.
func watchMemory(cmd *exec.Cmd) (peak func() int64) {
	var most int64
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if p := cmd.Process; p != nil {
				most = max(most, highWater(p.Pid))
			}
			select {
			case <-over:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(over)
		<-ended
		return most
	}
}

// highWater is the most memory that a process had, in bytes; 0 for one that has ended.
func highWater(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	var kB int64
	_, _ = fmt.Sscan(rest, &kB) // 0 for a process that has ended
	return kB << 10
}

// withoutPush is a build without output.
func withoutPush(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--push":
		case "-t":
			i++
		default:
			out = append(out, args[i])
		}
	}
	return out
}

// pushTheirs is a daemon of its own with buildctl.
func (b *bench) pushTheirs(c pushContest, use *usage, name, output string, g goal) side {
	short := strings.ReplaceAll(strings.ReplaceAll(name, ", ", "-"), " ", "-")
	repo := c.repo + "/" + short
	image := c.registry + "/" + repo + ":1"
	return side{name: name, image: image, goal: g,
		before: func() error {
			if err := errors.Join(use.clear(), b.emptyRepo(repo)); err != nil {
				return err
			}
			use.state = filepath.Join(b.dir, "push-"+short)
			d, err := b.startDaemon("push-" + short)
			if err != nil {
				return err
			}
			use.daemon = d
			return b.solve(d, c.project)
		},
		run: func() error {
			return b.counted(name, use, func() error {
				return b.viaBuildctl(use.daemon, c.project, c.project.dockerfile(), image, output)
			})
		},
	}
}

// solve builds on a daemon, for no output.
func (b *bench) solve(d *daemon, p project) error {
	cmd := exec.CommandContext(b.ctx, b.buildctl, "--addr", d.addr, "build", "--progress", "plain", "--frontend", "dockerfile.v0",
		"--local", "context="+p.context(), "--local", "dockerfile="+filepath.Dir(p.dockerfile()))
	_, err := timed(cmd)
	return err
}

// emptyRepo removes a repository behind the registry's back. Blobs stay in its store, but nobody is told of them.
func (b *bench) emptyRepo(repo string) error {
	return os.RemoveAll(filepath.Join(filepath.Dir(b.env.Registry.AccessLog), "data", "docker", "registry", "v2", "repositories", repo))
}

// wheelsProject has a Dockerfile with one layer of wheels.
func (b *bench) wheelsProject() (project, error) {
	busybox, err := b.pinned("busybox")
	if err != nil {
		return "", err
	}
	p := project(filepath.Join(b.dir, "push-wheels"))
	if _, err := os.Stat(p.context()); err == nil {
		return p, nil
	}
	if p, err = b.newProject("push-wheels", "FROM "+busybox+"\nRUN --mount=type=bind,target=/src cp -a /src /wheels\n", ""); err != nil {
		return "", err
	}
	return p, b.wheels(p.context(), b.bytes)
}

// pushBig is row p1: a large layer of wheels, in each side's own way to compress.
func (b *bench) pushBig() error {
	p, err := b.wheelsProject()
	if err != nil {
		return err
	}
	return b.holdPush(pushContest{work: "p1 " + b.amount() + " of wheels, export and push", project: p, registry: b.env.Registry.Addr, repo: "bench/p1",
		best: ",oci-mediatypes=true,compression=zstd,compression-level=1", goal: times(8)})
}

// pushGzip is row p2: the same with layers of gzip.
func (b *bench) pushGzip() error {
	p, err := b.wheelsProject()
	if err != nil {
		return err
	}
	return b.holdPush(pushContest{work: "p2 the same, gzip", project: p, registry: b.env.Registry.Addr, repo: "bench/p2",
		flags: []string{"--compression", "gzip"}, best: best, goal: times(4)})
}

// Row p5.
const (
	farLayers = 40
	farDelay  = 25 * time.Millisecond // each way
)

// pushFar is row p5: many layers of middle size to a registry that is far away.
func (b *bench) pushFar() error {
	busybox, err := b.pinned("busybox")
	if err != nil {
		return err
	}
	size := min(5<<20, b.bytes/farLayers)
	text := "FROM " + busybox + "\n"
	for i := range farLayers {
		text += fmt.Sprintf("RUN --mount=type=bind,target=/src cp -a /src/part-%d /part-%d\n", i, i)
	}
	p, err := b.newProject("push-far", text, "")
	if err != nil {
		return err
	}
	all := filepath.Join(b.dir, "push-far-wheels")
	if err := b.wheels(all, farLayers*size); err != nil {
		return err
	}
	if err := slice(all, p.context(), farLayers, size); err != nil {
		return err
	}
	line, err := startFarLine(b.env.Registry.Addr, farDelay)
	if err != nil {
		return err
	}
	defer line.close()
	return b.holdPush(pushContest{
		work: fmt.Sprintf("p5 %d layers of %.1f MB, 50 ms away", farLayers, float64(size)/1e6), project: p, registry: line.addr, repo: "bench/p5",
		best: ",oci-mediatypes=true,compression=zstd,compression-level=1", goal: times(3)})
}

// slice writes the bytes of a folder's files, one after the other, into count files of one size.
func slice(from, to string, count int, size int64) error {
	all, err := readAll(from)
	if err != nil {
		return err
	}
	for i := range int64(count) {
		if err := os.WriteFile(filepath.Join(to, fmt.Sprintf("part-%d", i)), all[i*size:(i+1)*size], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// amount is how large the large layers are.
func (b *bench) amount() string { return fmt.Sprintf("%.2f GB", float64(b.bytes)/1e9) }

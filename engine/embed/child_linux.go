package embed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// child is BuildKit running in a child process.
type child struct {
	process  *process
	lifeline *os.File // the child stops when this is closed
	socket   *socket
	account  About

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	closed    bool
}

// childFiles are what a child inherits from its parent, which keeps them.
type childFiles struct {
	lock *os.File
	log  io.Writer
}

// startChild starts an engine in a child process.
func startChild(ctx context.Context, cfg childConfig, files childFiles) (*child, error) {
	sock, err := newSocket(cfg.Root)
	if err != nil {
		return nil, err
	}
	p, lifeline, report, err := runChild(ctx, cfg, []*os.File{sock.listener, files.lock}, files.log)
	sock.listener.Close() // the child has its own
	if err == nil && report.About == nil {
		err = &ChildError{Message: "it gave no account of itself"}
		abandon(p, lifeline)
	}
	if err != nil {
		sock.close()
		return nil, err
	}
	about := *report.About
	about.Pid = p.cmd.Process.Pid // it knows itself by another number
	return &child{process: p, lifeline: lifeline, socket: sock, account: about,
		listeners: map[net.Listener]struct{}{}}, nil
}

// probeInChild asks a child which snapshotter works.
func probeInChild(ctx context.Context, root, name string) (Choice, error) {
	cfg := childConfig{Root: root, Snapshotter: name, Probe: true}
	p, lifeline, report, err := runChild(ctx, cfg, nil, nil)
	if err != nil {
		return Choice{}, err
	}
	abandon(p, lifeline)
	if report.Choice == nil {
		return Choice{}, &ChildError{Message: "it did not answer"}
	}
	return *report.Choice, nil
}

// runChild starts a child and waits for its report. Where the kernel refuses a
// PID namespace of its own, it does without.
func runChild(ctx context.Context, cfg childConfig, inherit []*os.File, log io.Writer) (*process, *os.File, childReport, error) {
	var maps *idMaps // stays nil for the root of a user namespace, who is in the right one already
	if os.Geteuid() != 0 {
		m, err := currentIDMaps()
		if err != nil {
			return nil, nil, childReport{}, err
		}
		maps = &m
	}
	p, lifeline, report, err := runMapped(ctx, cfg, maps, inherit, log)
	if errors.Is(err, errNoProc) && cfg.PIDNamespace {
		cfg.PIDNamespace = false
		p, lifeline, report, err = runMapped(ctx, cfg, maps, inherit, log)
	}
	return p, lifeline, report, err
}

// runMapped starts a child in the namespaces it needs, a user namespace with
// these maps among them if there are any.
func runMapped(ctx context.Context, cfg childConfig, maps *idMaps, inherit []*os.File, log io.Writer) (_ *process, _ *os.File, report childReport, err error) {
	configR, configW, err := os.Pipe()
	if err != nil {
		return nil, nil, report, err
	}
	defer configR.Close()
	reportR, reportW, err := os.Pipe()
	if err != nil {
		configW.Close()
		return nil, nil, report, err
	}
	defer reportR.Close()
	files := append([]*os.File{configR, reportW}, inherit...)
	p, err := startProcess(files, namespaceFlags(cfg, maps != nil), log)
	reportW.Close()
	if err != nil {
		configW.Close()
		return nil, nil, report, startError(err)
	}
	defer func() {
		if err != nil {
			abandon(p, configW)
		}
	}()
	if maps != nil {
		if err = maps.apply(ctx, p.cmd.Process.Pid); err != nil {
			return nil, nil, report, err
		}
	}
	if err = json.NewEncoder(configW).Encode(cfg); err != nil {
		return nil, nil, report, p.failure("it did not take its configuration: " + err.Error())
	}
	if report, err = readReport(ctx, reportR, p); err != nil {
		return nil, nil, report, err
	}
	return p, configW, report, nil
}

// readReport waits for the child's report, its end, or the end of ctx.
func readReport(ctx context.Context, r *os.File, p *process) (childReport, error) {
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var report childReport
	err := json.NewDecoder(r).Decode(&report)
	switch {
	case ctx.Err() != nil:
		return report, context.Cause(ctx)
	case err != nil:
		p.kill() // its end explains the missing report
		return report, p.failure("it ended before it was ready")
	case report.Error != nil:
		return report, report.Error.err()
	}
	return report, nil
}

func (c *child) dial(ctx context.Context) (net.Conn, error) { return c.socket.dial(ctx) }

func (c *child) about() About { return c.account }

// How long a child may take to stop; it has timeouts of its own for each part.
const closeChild = closeRequests + closeContainers + closeCollect + 5*time.Second

func (c *child) close() error {
	c.mu.Lock()
	c.closed = true
	for l := range c.listeners {
		_ = l.Close()
	}
	c.mu.Unlock()
	_ = c.lifeline.Close()
	select {
	case <-c.process.done:
	case <-time.After(closeChild):
	}
	c.process.kill()
	c.socket.close()
	if c.process.err != nil {
		return c.process.failure("it ended badly")
	}
	return nil
}

// abandon ends a child whose work does not matter.
func abandon(p *process, lifeline *os.File) {
	_ = lifeline.Close()
	p.kill()
}

// process is a running child process.
type process struct {
	cmd  *exec.Cmd
	out  *tail
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; to be read after done
}

func namespaceFlags(cfg childConfig, user bool) uintptr {
	flags := uintptr(unix.CLONE_NEWNS)
	if user {
		flags |= unix.CLONE_NEWUSER
	}
	if cfg.PIDNamespace {
		flags |= unix.CLONE_NEWPID
	}
	return flags
}

// startError tells the kernel's refusal of namespaces from other failures.
func startError(err error) error {
	for _, refusal := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, refusal) {
			return usernsError(err)
		}
	}
	return &ChildError{Message: "it could not be started: " + err.Error()}
}

// startProcess re-executes this program in new namespaces. In a new user
// namespace it has every capability, but is nobody until its ids are mapped.
func startProcess(files []*os.File, namespaces uintptr, log io.Writer) (*process, error) {
	out := &tail{log: log}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = childName
	cmd.ExtraFiles = files
	cmd.Stderr = out
	cmd.WaitDelay = 2 * time.Second // a daemon may keep stderr open
	cmd.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: namespaces,
		// Not in the terminal's foreground: Ctrl-C is for the parent to handle.
		Setpgid: true,
		// A killed child leaves its steps running, and has to be asked to stop,
		Pdeathsig: unix.SIGTERM,
	}
	if namespaces&unix.CLONE_NEWPID != 0 {
		// unless the kernel kills all that is in its PID namespace with it.
		cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	}
	if namespaces&unix.CLONE_NEWUSER != 0 {
		// Kept over the exec, although the ids are not mapped yet. The other
		// way, to exec a second time when they are, costs a whole start.
		cmd.SysProcAttr.AmbientCaps = allCapabilities()
	}
	p := &process{cmd: cmd, out: out, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	return p, <-started
}

// run starts the process and waits for its end on one OS thread: the kernel
// sends Pdeathsig when the thread that forked ends, not the process.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	if err := p.cmd.Wait(); !errors.Is(err, exec.ErrWaitDelay) {
		p.err = err
	}
	close(p.done)
}

// kill ends the process, if it runs, and waits.
func (p *process) kill() {
	select {
	case <-p.done:
		return
	case <-time.After(10 * time.Millisecond): // it may be about to end by itself
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// failure describes the end of a process that has ended.
func (p *process) failure(what string) error {
	if p.cmd.ProcessState != nil && !p.cmd.ProcessState.Success() {
		what = fmt.Sprintf("%s (%s)", what, p.cmd.ProcessState)
	}
	return &ChildError{Message: what, Output: strings.TrimSpace(p.out.String())}
}

func allCapabilities() []uintptr {
	last := unix.CAP_LAST_CAP
	if b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap"); err == nil {
		_, _ = fmt.Sscan(string(b), &last)
	}
	caps := make([]uintptr, last+1)
	for i := range caps {
		caps[i] = uintptr(i)
	}
	return caps
}

package node

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signals by which the kubelet of a running node is stopped, as suddenly as a
// machine is lost, and started again.
const (
	StopKubelet  = syscall.SIGUSR1
	StartKubelet = syscall.SIGUSR2
)

// containerdSocket is in a file system of the node alone, so all nodes can call
// it the same.
const containerdSocket = "/run/containerd/containerd.sock"

// containerdTimeout is how long containerd may take until it listens.
const containerdTimeout = 30 * time.Second

// machine is the node that this process is.
type machine struct {
	dir        string   // of this node's files
	containerd string   // the program
	kubelet    []string // its flags
	devices    devices

	mu         sync.Mutex
	kubeletPID int // 0 while it is stopped on purpose
}

// Run is the process of a node. Its flags are -dir, -containerd, -resource,
// -devices, -device-env and -loopback; what follows them are flags for the
// kubelet. It returns when one of its programs ends by itself, or with SIGTERM.
func Run(args []string) error {
	if os.Getpid() != 1 {
		return errors.New("a node is the first process of its namespaces; package kube starts it")
	}
	m := &machine{}
	var loopback string
	flags := flag.NewFlagSet("node", flag.ContinueOnError)
	flags.StringVar(&m.dir, "dir", "", "folder with containerd.toml, for logs and data")
	flags.StringVar(&m.containerd, "containerd", "containerd", "the program")
	flags.StringVar(&m.devices.resource, "resource", "", "resource that the devices are of; empty for none")
	flags.IntVar(&m.devices.count, "devices", 0, "how many there are")
	flags.StringVar(&m.devices.env, "device-env", "", "variable that tells a container which ones it has")
	flags.StringVar(&loopback, "loopback", "", "file with addresses, one a line, that pods can reach on their loopback")
	if err := flags.Parse(args); err != nil {
		return err
	}
	m.kubelet = flags.Args()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, StopKubelet, StartKubelet)
	if err := separate(m.dir); err != nil {
		return err
	}
	if err := m.start(loopback); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- m.reap() }()
	return m.obey(signals, ended)
}

// start starts all that a node consists of.
func (m *machine) start(loopback string) error {
	if loopback != "" {
		forwards, err := watchPods(loopback)
		if err != nil {
			return err
		}
		go forwards.run()
	}
	if _, err := spawn(m.log("containerd"), m.containerd, "--config", filepath.Join(m.dir, "containerd.toml")); err != nil {
		return err
	}
	for deadline := time.Now().Add(containerdTimeout); !listens(containerdSocket); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("containerd does not listen at %s; see %s", containerdSocket, m.log("containerd"))
		}
	}
	return m.startKubelet()
}

// obey does what signals say until the end.
func (m *machine) obey(signals <-chan os.Signal, ended <-chan error) error {
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			switch s {
			case StopKubelet:
				m.stopKubelet()
			case StartKubelet:
				if err := m.startKubelet(); err != nil {
					return err
				}
			default:
				return nil
			}
		}
	}
}

func (m *machine) startKubelet() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kubeletPID != 0 {
		return nil
	}
	if err := m.devices.forget(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	m.kubeletPID, err = spawn(m.log("kubelet"), self, append([]string{"kubelet"}, m.kubelet...)...)
	if err == nil && m.devices.resource != "" {
		go m.devices.offer()
	}
	return err
}

func (m *machine) stopKubelet() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kubeletPID != 0 {
		_ = syscall.Kill(m.kubeletPID, syscall.SIGKILL) // it may just have ended
		m.kubeletPID = 0
	}
}

// reap waits for children, its own and those that lost their parents, until
// one ends that the node cannot do without.
func (m *machine) reap() error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil { // no children: containerd, too, has ended
			return fmt.Errorf("containerd ended; see %s", m.log("containerd"))
		}
		m.mu.Lock()
		kubelet := pid == m.kubeletPID
		m.mu.Unlock()
		if kubelet {
			return fmt.Errorf("the kubelet ended with status %d; see %s", status.ExitStatus(), m.log("kubelet"))
		}
	}
}

func (m *machine) log(name string) string { return filepath.Join(m.dir, name+".log") }

// spawn starts a program with its output at the end of a file. Nobody waits
// for it but reap.
func spawn(log, program string, args ...string) (int, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	pid, err := syscall.ForkExec(program, append([]string{program}, args...), &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, out.Fd(), out.Fd()},
	})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", program, err)
	}
	return pid, nil
}

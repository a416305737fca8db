package kube

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// network is the network namespace of a cluster: ports and addresses are the
// cluster's own, and all that is in it ends with the processes in it. There is
// no way out of it but what Reach makes.
type network struct {
	file *os.File // keeps the namespace as long as it is open
}

// newNetwork makes a namespace in which there is a loopback and nothing else.
func newNetwork() (*network, error) {
	n := &network{}
	return n, onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		if n.file, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())); err != nil {
			return err
		}
		return raiseLoopback()
	})
}

// onThread calls f on a thread of its own, which ends with it: f may change
// the namespaces of its thread.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		result <- f()
	}()
	return <-result
}

func raiseLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("raise the loopback: %w", err)
	}
	return nil
}

// within calls f inside of the network.
func (n *network) within(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the cluster's network: %w", err)
		}
		return f()
	})
}

// dial connects to an address inside of the network.
func (n *network) dial(address string) (conn net.Conn, err error) {
	err = n.within(func() (err error) {
		conn, err = net.Dial("tcp", address)
		return err
	})
	return conn, err
}

// listen listens inside of the network.
func (n *network) listen(address string) (listener net.Listener, err error) {
	err = n.within(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	return listener, err
}

// command is a command that runs inside of the network.
func (n *network) command(nsenter, program string, args ...string) *exec.Cmd {
	inside := fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
	return exec.Command(nsenter, append([]string{inside, "--", program}, args...)...)
}

func (n *network) close() error {
	if n == nil || n.file == nil {
		return nil
	}
	return n.file.Close()
}

// handOn copies the connections of a listener to and from what dial connects
// to, until the listener is closed.
func handOn(listener net.Listener, dial func() (net.Conn, error)) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			server, err := dial()
			if err != nil {
				return // which the client sees as a connection that is closed
			}
			defer server.Close()
			var both sync.WaitGroup
			both.Go(func() { stream(server, client) })
			both.Go(func() { stream(client, server) })
			both.Wait()
		}()
	}
}

// stream copies one way and hands the end on.
func stream(to, from net.Conn) {
	_, _ = io.Copy(to, from) // the ends notice themselves
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}

// Reach lets nodes and pods reach a server of the test, 127.0.0.1:port, under
// the same address: nodes at once, pods from the next one on.
func (c *Cluster) Reach(address string) error {
	if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
		return fmt.Errorf("%q is no address of the form 127.0.0.1:port", address)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forwards[address] != nil {
		return nil
	}
	listener, err := c.network.listen(address)
	if err != nil {
		return err
	}
	go handOn(listener, func() (net.Conn, error) { return net.Dial("tcp", address) })
	c.forwards[address] = listener
	file, err := os.OpenFile(c.loopbackFile(), os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, address)
	return errors.Join(err, file.Close(), c.trustPlainHTTP(address))
}

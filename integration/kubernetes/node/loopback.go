package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// namespaces is where containerd binds the network namespaces of pods.
const namespaces = "/run/netns"

// loopback lets pods reach servers that listen on the loopback of the test's
// machine under the same addresses. A pod's loopback is its own, so this
// process listens there, in the pod's network namespace, and hands connections
// on from its own.
type loopback struct {
	file    string // the addresses, one a line; read for each new pod
	watcher *fsnotify.Watcher

	mu        sync.Mutex
	listeners map[string][]net.Listener // by the name of the pod's namespace
}

// watchPods begins to watch for pods.
func watchPods(file string) (*loopback, error) {
	if err := os.MkdirAll(namespaces, 0o755); err != nil {
		return nil, err
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &loopback{file: file, watcher: watcher, listeners: map[string][]net.Listener{}}, watcher.Add(namespaces)
}

// run serves pods as long as the process lives.
func (l *loopback) run() {
	for event := range l.watcher.Events {
		switch {
		case event.Has(fsnotify.Create):
			go func() {
				if err := l.serve(event.Name); err != nil {
					fmt.Fprintf(os.Stderr, "node: loopback of %s: %v\n", event.Name, err)
				}
			}()
		case event.Has(fsnotify.Remove):
			l.forget(event.Name)
		}
	}
}

// serve listens in a pod's namespace. A listener keeps the namespace alive, so
// that of a pod that has gone meanwhile is closed at once.
func (l *loopback) serve(namespace string) error {
	content, err := os.ReadFile(l.file)
	if err != nil {
		return err
	}
	for _, address := range strings.Fields(string(content)) {
		listener, err := listenIn(namespace, address)
		if errors.Is(err, os.ErrNotExist) { // gone
			return nil
		}
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.listeners[namespace] = append(l.listeners[namespace], listener)
		l.mu.Unlock()
		go handOn(listener, address)
	}
	if _, err := os.Stat(namespace); errors.Is(err, os.ErrNotExist) {
		l.forget(namespace)
	}
	return nil
}

func (l *loopback) forget(namespace string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, listener := range l.listeners[namespace] {
		listener.Close()
	}
	delete(l.listeners, namespace)
}

// listenIn listens in another network namespace. The file of the namespace is
// there a moment before the namespace is bound to it.
func listenIn(namespace, address string) (net.Listener, error) {
	var err error
	for range 100 {
		var listener net.Listener
		if listener, err = tryListenIn(namespace, address); err == nil || !errors.Is(err, unix.EINVAL) {
			return listener, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil, err
}

func tryListenIn(namespace, address string) (net.Listener, error) {
	type result struct {
		net.Listener
		error
	}
	results := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread is in the namespace and ends with this goroutine
		listener, err := func() (net.Listener, error) {
			file, err := os.Open(filepath.Clean(namespace))
			if err != nil {
				return nil, err
			}
			defer file.Close()
			if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, fmt.Errorf("enter it: %w", err)
			}
			config := net.ListenConfig{Control: beforeUp}
			return config.Listen(context.Background(), "tcp", address)
		}()
		results <- result{listener, err}
	}()
	r := <-results
	return r.Listener, r.error
}

// beforeUp lets a socket have an address of a loopback that is not up yet.
func beforeUp(_, _ string, conn syscall.RawConn) error {
	var err error
	control := conn.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) })
	return errors.Join(control, err)
}

// handOn copies each connection to the same address outside of the pod.
func handOn(listener net.Listener, address string) {
	for {
		pod, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer pod.Close()
			server, err := net.Dial("tcp", address)
			if err != nil {
				return // which the pod sees as a connection that is closed
			}
			defer server.Close()
			var both sync.WaitGroup
			both.Go(func() { stream(server, pod) })
			both.Go(func() { stream(pod, server) })
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

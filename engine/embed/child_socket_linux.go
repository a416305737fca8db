package embed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// socket is a unix socket that has a name for the blink of an eye. It is reached
// through a file descriptor afterwards, so that nothing stays on the disk even
// if both processes are killed, and nobody else can find it. The state folder's
// length does not matter either, which may exceed what fits in a socket address.
type socket struct {
	listener *os.File // to be inherited by who listens
	path     *os.File // an O_PATH descriptor, to connect by
}

func newSocket(dir string) (_ *socket, err error) {
	folder, err := os.MkdirTemp(dir, "socket-") // mode 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	d, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	name := filepath.Join(descriptorPath(d), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
	if err != nil {
		return nil, fmt.Errorf("listen for the engine: %w", err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false) // the folder goes, under another name
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the engine's socket: %w", err)
	}
	s := &socket{path: os.NewFile(uintptr(fd), name)}
	if s.listener, err = l.File(); err != nil {
		s.path.Close()
		return nil, err
	}
	return s, nil
}

func descriptorPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

func (s *socket) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", descriptorPath(s.path))
}

func (s *socket) close() {
	_ = s.listener.Close()
	_ = s.path.Close()
}

// serve hands every connection of l on to the child, which cannot accept them
// itself: l may be anything, and belongs to this process.
func (c *child) serve(l net.Listener) error {
	defer l.Close()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.listeners[l] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.listeners, l)
		c.mu.Unlock()
	}()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go c.relay(conn)
	}
}

// relay copies both ways until both ends have nothing more to say.
func (c *child) relay(outside net.Conn) {
	defer outside.Close()
	inside, err := c.socket.dial(context.Background())
	if err != nil {
		return // the child has gone
	}
	defer inside.Close()
	var wg sync.WaitGroup
	wg.Go(func() { copyHalf(inside, outside) })
	wg.Go(func() { copyHalf(outside, inside) })
	wg.Wait()
}

func copyHalf(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	} else {
		_ = to.Close()
	}
}

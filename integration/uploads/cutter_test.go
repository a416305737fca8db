//go:build integration

package uploads

import (
	"io"
	"net"
	"sync"
	"testing"
)

// cutter passes TCP connections on to a server, and cuts the one on which its next limit of bytes is reached.
type cutter struct {
	addr   string
	target string

	mu     sync.Mutex
	passed int64   // bytes that were passed on to the server
	limits []int64 // of passed, at which a connection is cut
	hard   bool    // with a reset
	conns  []net.Conn
}

func newCutter(t *testing.T, target string, hard bool, limits ...int64) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{addr: l.Addr().String(), target: target, hard: hard, limits: limits}
	var open sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		c.mu.Lock()
		for _, conn := range c.conns {
			conn.Close()
		}
		c.mu.Unlock()
		open.Wait()
	})
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// The kernel would take some MB that the cutter has not read, as no link does.
			_ = conn.(*net.TCPConn).SetReadBuffer(256 << 10)
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			open.Go(func() { c.serve(conn) })
		}
	})
	return c
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		n, cut := c.pass(n)
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			return
		}
		if cut {
			if c.hard {
				_ = client.(*net.TCPConn).SetLinger(0)
			}
			return
		}
	}
}

// pass counts n more bytes, and tells how many of them may pass before a cut.
func (c *cutter) pass(n int) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.limits) > 0 && c.passed+int64(n) >= c.limits[0] {
		n = int(c.limits[0] - c.passed)
		c.passed, c.limits = c.limits[0], c.limits[1:]
		return n, true
	}
	c.passed += int64(n)
	return n, false
}

// left is how many cuts have not happened, and how many bytes were passed on.
func (c *cutter) left() (cuts int, passed int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.limits), c.passed
}

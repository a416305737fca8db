package testenv

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Connection is one TCP connection that somebody made to the builder, also one
// that was refused for its certificate.
type Connection struct {
	Time     time.Time
	Sent     int64 // bytes that the client sent so far
	Received int64 // bytes that the client got so far
	Open     bool
}

// tcpProxy hands connections on to another address and records them. A
// connection is recorded before its first byte is handed on.
type tcpProxy struct {
	listener net.Listener
	target   string
	cancel   context.CancelFunc
	group    errgroup.Group

	mu    sync.Mutex
	conns []*Connection
}

// startTCPProxy listens on a loopback port for target.
func startTCPProxy(target string) (*tcpProxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &tcpProxy{listener: listener, target: target, cancel: cancel}
	p.group.Go(func() error { return p.accept(ctx) })
	return p, nil
}

func (p *tcpProxy) accept(ctx context.Context) error {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		entry := &Connection{Time: time.Now(), Open: true}
		p.update(func() { p.conns = append(p.conns, entry) })
		p.group.Go(func() error {
			defer p.update(func() { entry.Open = false })
			return p.forward(ctx, client, entry)
		})
	}
}

// forward copies both ways until both sides are done or ctx ends. That a peer
// goes away is no error here: the ends themselves notice.
func (p *tcpProxy) forward(ctx context.Context, client net.Conn, entry *Connection) error {
	defer client.Close()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return nil
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()

	var both sync.WaitGroup
	both.Go(func() { p.pipe(server, client, &entry.Sent) })
	both.Go(func() { p.pipe(client, server, &entry.Received) })
	both.Wait()
	return nil
}

// pipe copies one way and hands the end of the stream on.
func (p *tcpProxy) pipe(to, from net.Conn, count *int64) {
	counted := readerFunc(func(buf []byte) (int, error) {
		n, err := from.Read(buf)
		p.update(func() { *count += int64(n) })
		return n, err
	})
	io.Copy(to, counted)
	if half, ok := to.(*net.TCPConn); ok {
		half.CloseWrite()
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (p *tcpProxy) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *tcpProxy) mark() Mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Mark(len(p.conns))
}

func (p *tcpProxy) since(mark Mark) []Connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []Connection
	for _, c := range p.conns[mark:] {
		found = append(found, *c)
	}
	return found
}

// close cuts the open connections too.
func (p *tcpProxy) close() error {
	if p == nil {
		return nil
	}
	err := p.listener.Close()
	p.cancel()
	return errors.Join(err, p.group.Wait())
}

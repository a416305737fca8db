package main

import (
	"io"
	"net"
	"time"
)

// farLine is a line to a server that is far away: TCP connections through a proxy that delivers each byte a time after
// it came, both ways, and a new connection after the time that its handshake would take. All sides of a contest go
// through it. It stands in for netem, which not every kernel has; a TCP that is slow to open its window is not part
// of it, nor a limit of bandwidth.
type farLine struct {
	addr     string
	target   string
	delay    time.Duration // one way
	listener net.Listener
}

func startFarLine(target string, delay time.Duration) (*farLine, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &farLine{addr: l.Addr().String(), target: target, delay: delay, listener: l}
	go f.accept()
	return f, nil
}

func (f *farLine) close() { _ = f.listener.Close() }

func (f *farLine) accept() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		go f.serve(client)
	}
}

func (f *farLine) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer server.Close()
	time.Sleep(2 * f.delay) // the handshake
	back := make(chan struct{})
	go func() {
		defer close(back)
		f.pipe(client, server)
	}()
	f.pipe(server, client)
	<-back
}

// late is what came at some time; nil for the end.
type late struct {
	data []byte
	due  time.Time
}

// onTheWay is how many pieces a line holds: 64 MB of them are more than any window.
const (
	onTheWay  = 1024
	pieceSize = 64 << 10
)

// pipe copies one way, late.
func (f *farLine) pipe(to, from net.Conn) {
	line := make(chan late, onTheWay)
	go func() {
		defer close(line)
		for {
			buf := make([]byte, pieceSize)
			n, err := from.Read(buf)
			if n > 0 {
				line <- late{buf[:n], time.Now().Add(f.delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	var failed error
	for l := range line {
		if failed != nil {
			continue
		}
		time.Sleep(time.Until(l.due))
		if _, failed = to.Write(l.data); failed != nil {
			_ = from.Close() // ends the reader
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if failed != nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

package testenv

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo answers every connection with what it got and then closes it.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestTCPProxyRecords(t *testing.T) {
	proxy, err := startTCPProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := proxy.since(0); len(got) != 0 {
		t.Errorf("connections before the first = %v", got)
	}
	mark := proxy.mark()
	conn, err := net.Dial("tcp", proxy.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "hello" {
		t.Fatalf("answer %q, %v", answer, err)
	}
	got := proxy.since(mark)
	if len(got) != 1 || got[0].Sent != 5 || got[0].Received != 5 {
		t.Errorf("connections = %+v, want one with 5 bytes each way", got)
	}
	if err := proxy.close(); err != nil {
		t.Error(err)
	}
	if proxy.since(mark)[0].Open {
		t.Error("the connection is open after close")
	}
}

func TestTCPProxyCloseCutsConnections(t *testing.T) {
	proxy, err := startTCPProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", proxy.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	closed := make(chan error, 1)
	go func() { closed <- proxy.close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("close waits for an idle connection")
	}
}

package kube

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// Cutter is a proxy in front of the API server, whose connections fail as a
// test wants. It is healthy at first.
type Cutter struct {
	Server string // URL of the API server through it

	cluster *Cluster
	address string

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	pairs    map[*pair]bool
	stalled  chan struct{} // closed by Heal; nil while bytes flow
	budget   int64         // bytes from the server that a connection may still get; negative for any number
	closed   bool
}

// pair is a client's connection and the one to the server.
type pair struct {
	client, server net.Conn
	left           int64 // as the cutter's budget, for this connection
}

// Cutter starts a proxy of its own for the caller. It is closed with the
// cluster.
func (c *Cluster) Cutter() (*Cutter, error) { return c.newCutter() }

func (c *Cluster) newCutter() (*Cutter, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &Cutter{cluster: c, address: listener.Addr().String(), pairs: map[*pair]bool{}, budget: -1}
	k.Server = "https://" + k.address
	c.mu.Lock()
	c.proxies = append(c.proxies, k)
	c.mu.Unlock()
	k.listen(listener)
	return k, nil
}

// Kubeconfig is Cluster.Kubeconfig, through the proxy.
func (k *Cutter) Kubeconfig(user string, groups ...string) (string, error) {
	_, port, err := net.SplitHostPort(k.address)
	if err != nil {
		return "", err
	}
	return k.cluster.kubeconfig(user+"-"+port, k.Server, user, groups...)
}

// Cut cuts all connections there are, with a reset. New ones are fine.
func (k *Cutter) Cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.pairs {
		p.reset()
	}
}

// CutAfter cuts each connection, also those to come, once the server has sent
// n more bytes on it, in the middle of whatever they are.
func (k *Cutter) CutAfter(n int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.budget = n
	for p := range k.pairs {
		p.left = n
	}
}

// Refuse cuts all connections and refuses new ones until Heal.
func (k *Cutter) Refuse() error {
	k.Cut()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.listener == nil {
		return nil
	}
	err := k.listener.Close()
	k.listener = nil
	return err
}

// Stall lets no byte through, on connections that stay open and on new ones,
// until Heal: what a network does that drops packets.
func (k *Cutter) Stall() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stalled == nil {
		k.stalled = make(chan struct{})
	}
}

// Heal ends what CutAfter, Refuse and Stall began. What was stalled arrives.
func (k *Cutter) Heal() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.budget = -1
	for p := range k.pairs {
		p.left = -1
	}
	if k.stalled != nil {
		close(k.stalled)
		k.stalled = nil
	}
	if k.listener != nil || k.closed {
		return nil
	}
	listener, err := net.Listen("tcp", k.address)
	if err != nil {
		return fmt.Errorf("take connections again: %w", err)
	}
	k.listen(listener)
	return nil
}

// Open is the number of connections that are open.
func (k *Cutter) Open() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.pairs)
}

func (k *Cutter) listen(listener net.Listener) {
	k.listener = listener
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go k.serve(client)
		}
	}()
}

// serve connects a client with the server.
func (k *Cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := k.cluster.network.dial("127.0.0.1:" + serverPort)
	if err != nil {
		return // which the client sees as a connection that is closed
	}
	defer server.Close()
	p := &pair{client: client, server: server}
	k.mu.Lock()
	p.left = k.budget
	k.pairs[p] = true
	closed := k.closed
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		delete(k.pairs, p)
		k.mu.Unlock()
	}()
	if closed {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { k.copy(p, server, client, func(n int) int { return n }) })
	both.Go(func() { k.copy(p, client, server, func(n int) int { return k.allowed(p, n) }) })
	both.Wait()
}

// copy copies one way, as much of each piece as allowed says, and cuts the
// connection where that is not all of it.
func (k *Cutter) copy(p *pair, to, from net.Conn, allowed func(int) int) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		k.waitForFlow()
		may := allowed(n)
		if _, writeErr := to.Write(buffer[:may]); writeErr != nil || may < n {
			p.reset()
			return
		}
		if err != nil {
			if half, ok := to.(*net.TCPConn); ok {
				_ = half.CloseWrite() // the peer may be gone already
			}
			return
		}
	}
}

// waitForFlow returns when nothing is stalled.
func (k *Cutter) waitForFlow() {
	k.mu.Lock()
	stalled := k.stalled
	k.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

// allowed takes up to n bytes from what a connection may still get.
func (k *Cutter) allowed(p *pair, n int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.left < 0 {
		return n
	}
	may := min(int64(n), p.left)
	p.left -= may
	return int(may)
}

// reset closes both connections, the client's without a proper end.
func (p *pair) reset() {
	if tcp, ok := p.client.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // what cannot be reset is closed all the same
	}
	p.client.Close()
	p.server.Close()
}

// close ends the proxy and its connections.
func (k *Cutter) close() error {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	return errors.Join(k.Refuse(), k.Heal())
}

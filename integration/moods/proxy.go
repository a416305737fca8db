package moods

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Proxy is before a registry, in the moods of a plan. It has a second address, that of a host which the registry sends
// clients to and which has to get no credentials.
type Proxy struct {
	Host     string // host:port, as in names of images
	Password string // of User; no use where the plan has no credentials

	// patience is how long the proxy stands still, when it does. It has to be more than the client's limit.
	patience time.Duration
	registry string // host:port
	guard    *guard
	events   []*happening
	closed   chan struct{}
	outbound *http.Transport
	servers  []*http.Server
	stranger string
	serving  sync.WaitGroup
	handling sync.WaitGroup // requests

	mu    sync.Mutex
	gone  map[string]bool      // paths of sessions
	after map[string]time.Time // before which a request must not come again
	log   []string
	bytes int64 // of blobs that went up
	// manifests says that something happened to a request for one.
	manifests bool
}

// happening is an event and how often it has happened.
type happening struct {
	Event
	seen, done int
}

// Options are what a proxy has beside its plan.
type Options struct {
	Registry string        // host:port of the registry behind it, which speaks plain HTTP
	Repos    []string      // for which clients may ask for tokens
	Patience time.Duration // how long it stands still, when it does: longer than the client's limits
}

// Start returns a proxy that serves until Close.
func Start(plan Plan, o Options) (*Proxy, error) {
	p := &Proxy{patience: o.Patience, registry: o.Registry, guard: newGuard(plan.Auth, o.Repos), closed: make(chan struct{}),
		outbound: &http.Transport{DisableCompression: true}, gone: map[string]bool{}, after: map[string]time.Time{}}
	p.Password = p.guard.password
	for _, e := range plan.Events {
		p.events = append(p.events, &happening{Event: e})
	}
	var err error
	if p.Host, err = p.serve(p.front); err == nil {
		p.stranger, err = p.serve(p.elsewhere)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// serve starts a server on a loopback port.
func (p *Proxy) serve(handler http.HandlerFunc) (addr string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.handling.Add(1)
		defer p.handling.Done()
		handler(w, r)
	}), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	p.servers = append(p.servers, server)
	p.serving.Go(func() { _ = server.Serve(listener) }) // ends with Close
	return listener.Addr().String(), nil
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() error {
	close(p.closed)
	var errs []error
	for _, s := range p.servers {
		errs = append(errs, s.Close())
	}
	p.serving.Wait()
	p.handling.Wait()
	p.outbound.CloseIdleConnections()
	return errors.Join(errs...)
}

// Wrongs are what a client did that no client may do.
func (p *Proxy) Wrongs() []string {
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	return slices.Clone(p.guard.wrongs)
}

// Happened are the names of the moods that a client has met.
func (p *Proxy) Happened() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, e := range p.events {
		if e.done > 0 {
			names = append(names, e.Mood.Name)
		}
	}
	return names
}

// BytesUp is how many bytes of blobs came from the client.
func (p *Proxy) BytesUp() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// Log is what the client asked for, one request per line, with what happened to it.
func (p *Proxy) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

func (p *Proxy) logf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// front serves the registry's own address.
func (p *Proxy) front(w http.ResponseWriter, r *http.Request) {
	v := p.visit(w, r)
	p.checkPause(r)
	if e := p.meets(r); e != nil {
		v.part = e.Part
		p.logf("%s %s: %s", r.Method, v.target(), e.Mood.Name)
		if e.Mood.of(r) && p.allowed(v) {
			e.Mood.act(v)
		}
		return
	}
	v.handIfAllowed()
}

// allowed lets a request in, or answers it. Requests for tokens are let in: they are answered when they are handed on.
func (p *Proxy) allowed(v *visit) bool {
	if v.r.URL.Path == tokenPath || p.guard.allows(v.r) {
		return true
	}
	p.guard.challenge(v)
	return false
}

// meets returns the event that happens to a request; nil for none. A request without the credentials that it needs
// meets nothing: its answer is the challenge.
func (p *Proxy) meets(r *http.Request) *happening {
	if p.guard.auth != Open && r.URL.Path != tokenPath && r.Header.Get("Authorization") == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if !e.Mood.of(r) {
			continue
		}
		e.seen++
		if e.Mood.Lasts || e.seen == e.Nth {
			e.done++
			p.manifests = p.manifests || isManifest(r)
			return e
		}
	}
	return nil
}

// checkPause writes down who comes back earlier than he was asked to.
func (p *Proxy) checkPause(r *http.Request) {
	if r.Method == http.MethodPost {
		return // many blobs begin with the same request
	}
	p.mu.Lock()
	at, asked := p.after[r.Method+r.URL.Path]
	delete(p.after, r.Method+r.URL.Path)
	p.mu.Unlock()
	if early := time.Until(at); asked && early > 20*time.Millisecond {
		p.guard.wrong("%s %s came again %s earlier than it was asked to", r.Method, r.URL.Path, early)
	}
}

// elsewhere serves the other host, which has the registry's uploads and blobs and wants no credentials.
func (p *Proxy) elsewhere(w http.ResponseWriter, r *http.Request) {
	for _, name := range []string{"Authorization", "Cookie"} {
		if r.Header.Get(name) != "" {
			p.guard.wrong("another host got %s with %s %s", name, r.Method, r.URL.Path)
		}
	}
	p.visit(w, r).hand()
}

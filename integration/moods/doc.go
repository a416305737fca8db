// Package moods is a proxy before a real registry that misbehaves in one way or another, at a request and a byte that
// a seed chooses: connections are cut, bytes stand still, tokens expire, answers are errors or lies.
//
//	mood.go    Mood: what can go wrong, and what a client is to make of it
//	list.go    all of them
//	plan.go    Plan: which ones one push or pull meets, drawn from a seed
//	proxy.go   Proxy: hands requests on, and lets the events of its plan happen
//	visit.go   one request, and what can be done to it
//	guard.go   who may see credentials: the registry's own token server, and nobody else
//
// The tests are the matrix of faults: pushes and pulls of package registry through the proxy. After each, what the
// registry has is read past the proxy. What ibuild asks of a registry that behaves is tested by package traffic.
package moods

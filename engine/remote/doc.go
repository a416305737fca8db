// Package remote reaches a buildkitd that runs elsewhere: over a unix socket, or
// over TCP with mutual TLS.
//
// [Start] does not return a builder that cannot be used. It makes one connection
// by itself first, to learn in seconds what gRPC would hide behind retries and
// "context deadline exceeded": that nobody listens, that an address is not
// routed, which side of TLS does not trust the other, or that one end speaks TLS
// and the other does not. Then it asks the daemon for its workers.
//
// What lives here: addresses, certificates, connections, and the errors of
// these. What does not: choosing among several daemons, what is built on them
// (package engine), and BuildKit inside ibuild (engine/embed).
//
// A shared daemon is no boundary between tenants: whoever can connect can use
// its cache, see its history and prune it. Registry settings of the client do
// not reach it either; they are in the daemon's own buildkitd.toml.
package remote

package engine

import (
	"context"

	"github.com/moby/buildkit/client"
)

// Builder is a BuildKit that definitions can be solved with, in this process or far away.
type Builder interface {
	// Name is what people are told: "in-process" or an address.
	Name() string
	// Client returns a new client; the caller closes it. Safe for concurrent use.
	Client(ctx context.Context) (*client.Client, error)
	// Close frees what the builder holds; solves that still run fail.
	Close() error
}

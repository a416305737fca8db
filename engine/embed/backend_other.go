//go:build !linux

package embed

import (
	"context"
	"runtime"
)

// stateLock does not exist where no engine can run.
type stateLock struct{}

func (*stateLock) release() {}

func errPlatform() error {
	return &SetupError{Kind: SetupPlatform,
		Problem: "images are built on Linux only, and this is " + runtime.GOOS,
		Hint:    "Use a remote builder."}
}

func lockState(string) (*stateLock, error) { return nil, errPlatform() }

func startBackend(context.Context, Config, *stateLock) (backend, error) { return nil, errPlatform() }

func probeSnapshotter(context.Context, string, string) (Choice, error) {
	return Choice{}, errPlatform()
}

func findRuntime(string) (Runtime, error) { return Runtime{}, errPlatform() }

// ChildMain does nothing on this platform.
func ChildMain() {}

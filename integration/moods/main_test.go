//go:build integration

package moods

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ibuild/ibuild/integration/testenv"
	"github.com/ibuild/ibuild/registry"
)

// house is what all tests of the package share; TestMain makes it.
type house struct {
	env    *testenv.Env
	ibuild string           // the program
	img    *image           // what is pushed
	direct *registry.Client // past the proxies
	old    *image           // what tags stand for before
}

var shared house

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // containerd's content store says what the file system cannot
	os.Exit(testenv.Tests(m, testenv.Options{Log: os.Stderr, Bases: []string{"busybox"}}, func(ctx context.Context, env *testenv.Env) (func() error, error) {
		program, err := env.Ibuild(ctx)
		if err != nil {
			return nil, err
		}
		shared = house{env: env, ibuild: program, img: newImage(1), old: newImage(2),
			direct: registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)})}
		return nil, shared.img.prepare(ctx, shared.direct, env.Registry.Addr)
	}))
}

//go:build integration

package moods

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "moods:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	env, err := testenv.Start(ctx, testenv.Options{Log: os.Stderr, Bases: []string{"busybox"}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	logrus.SetOutput(io.Discard) // containerd's content store says what the file system cannot
	program := filepath.Join(env.Dir, "ibuild")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/ibuild/ibuild/cmd/ibuild").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build ibuild: %w\n%s", err, out)
	}
	if program, err = env.Install(program); err != nil {
		return 1, err
	}
	shared = house{env: env, ibuild: program, img: newImage(1), old: newImage(2),
		direct: registry.New(registry.Options{Keychain: registry.StaticKeychain(nil)})}
	if err := shared.img.prepare(ctx, shared.direct, env.Registry.Addr); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

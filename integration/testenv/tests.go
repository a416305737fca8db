package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Tests runs the tests of a package in an environment of their own, and returns
// the exit code of their process. use is given the environment before they run;
// what it returns, if that is not nil, closes what it has opened. Tests that
// cannot run as they are meant to, as the caller is not root, fail.
func Tests(m interface{ Run() int }, o Options, use func(context.Context, *Env) (end func() error, err error)) int {
	code, err := runTests(m, o, use)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the tests' environment:", err)
		return max(code, 1)
	}
	return code
}

func runTests(m interface{ Run() int }, o Options, use func(context.Context, *Env) (func() error, error)) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("these tests need root: they build as several users, and run what they built")
	}
	ctx := context.Background()
	env, err := Start(ctx, o)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	end, err := use(ctx, env)
	if end != nil {
		defer func() { err = errors.Join(err, end()) }()
	}
	if err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// Ibuild builds the command of this checkout, with the bootstrap in it, where
// all users can run it, and returns its path.
func (e *Env) Ibuild(ctx context.Context) (string, error) {
	program := filepath.Join(e.Dir, "built", "ibuild")
	for _, args := range [][]string{
		{"generate", "github.com/ibuild/ibuild/runner/bootstrap"},
		{"build", "-o", program, "github.com/ibuild/ibuild/cmd/ibuild"},
	} {
		if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %s: %w\n%s", args[0], err, out)
		}
	}
	return e.Install(program)
}

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/ibuild/ibuild/runner/bootstrap/contract"
)

// find looks a program up in PATH as it is now, as a shell does.
func find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	file, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) {
		err = nil // the user's PATH says so
	}
	return file, err
}

// notRun says why a program was not run, and the exit code that a shell has for it.
func notRun(name string, err error) (code int, words string) {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return contract.ExitNotFound, fmt.Sprintf("there is no program %q in PATH (%s)", name, os.Getenv("PATH"))
	case errors.Is(err, fs.ErrNotExist):
		if _, there := os.Stat(name); there == nil && strings.Contains(name, "/") {
			return contract.ExitNotFound, fmt.Sprintf("%q needs an interpreter or a loader that the image does not have: see its first line (#!), or file(1)", name)
		}
		return contract.ExitNotFound, fmt.Sprintf("there is no program %q", name)
	case errors.Is(err, syscall.ENOEXEC):
		return contract.ExitNotRun, fmt.Sprintf("%q cannot be run here: it is a program for another architecture, or a script without a first line such as #!/bin/sh", name)
	case errors.Is(err, fs.ErrPermission):
		return contract.ExitNotRun, fmt.Sprintf("%q may not be run: it is not executable for this user, or a folder", name)
	}
	return contract.ExitNotRun, fmt.Sprintf("%q cannot be run: %v", name, err)
}

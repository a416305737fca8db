//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// python is the interpreter that the program will run with.
type python struct {
	file    string // of the interpreter
	Folder  string `json:"folder"`  // where its packages are
	Version string `json:"version"` // "3.12.4"
	Managed bool   `json:"managed"` // the distribution forbids others to install into it (PEP 668)
}

// aboutPython prints what has to be known of an interpreter. It imports nothing from the current folder.
const aboutPython = `import json, os, platform, sys, sysconfig
print(json.dumps({
    "folder": sysconfig.get_path("purelib"),
    "version": platform.python_version(),
    "managed": sys.prefix == sys.base_prefix and os.path.exists(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")),
}))`

// askTime is how long an interpreter may take to say what it is; it may come over a network's file system.
const askTime = time.Minute

// maxAnswer bounds what it says, in bytes.
const maxAnswer = 64 << 10

var isPython = regexp.MustCompile(`^python[0-9.]*$`)

// findPython finds the interpreter of a program: the program itself, where that is one, that of the active
// environment, or what PATH has.
func findPython(program string) (*python, error) {
	var names []string
	if isPython.MatchString(filepath.Base(program)) {
		names = append(names, program)
	}
	if env := os.Getenv("VIRTUAL_ENV"); filepath.IsAbs(env) {
		names = append(names, filepath.Join(env, "bin", "python"))
	}
	for _, name := range append(names, "python3", "python") {
		file, err := find(name)
		if _, statErr := os.Stat(file); err != nil || statErr != nil {
			continue
		}
		return askPython(file)
	}
	return nil, fmt.Errorf("the image has no python in PATH (%s), and prebuilt mode installs Python packages; take an image with one, or the mode bundled", os.Getenv("PATH"))
}

// askPython runs an interpreter, which says where its packages are.
func askPython(file string) (*python, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, file, "-I", "-c", aboutPython)
	var out, stderr limited
	cmd.Stdout, cmd.Stderr = &out, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s does not run: %w: %s", file, err, bytes.TrimSpace(stderr.data))
	}
	p := &python{file: file}
	if err := json.Unmarshal(out.data, p); err != nil || !filepath.IsAbs(p.Folder) {
		return nil, fmt.Errorf("%s does not say where its packages are, but %.200q", file, out.data)
	}
	return p, nil
}

// writable says that packages can be installed into the environment itself.
func (p *python) writable() bool {
	folder := p.Folder
	for folder != "/" { // the folder may have to be made
		if _, err := os.Stat(folder); err == nil {
			break
		}
		folder = filepath.Dir(folder)
	}
	return !p.Managed && unix.Access(folder, unix.W_OK) == nil
}

// limited keeps the first bytes of what is written to it.
type limited struct{ data []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.data = append(l.data, p[:min(len(p), maxAnswer-len(l.data))]...)
	return len(p), nil
}

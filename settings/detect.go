package settings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/ibuild/ibuild/llb"
)

// Detect gathers what steps need to reach package indexes: from the configuration (nil for none), the
// environment, and the files of pip, uv and apt, in this order. The notes say in a line each what was
// found and where; they show no password. What is wrong with a file is an [*Error].
//
// It runs at most apt-config and apt-get, side by side, and only where they are installed.
func Detect(ctx context.Context, cfg *Config, host Host) (llb.Machine, []string, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	d := &detector{
		host: host, cfg: &cfg.Packages, file: cfg.File,
		machine: llb.Machine{Env: map[string]string{}, Files: map[string][]byte{}},
	}
	apt := d.startApt(ctx)
	err := d.gather(apt)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return llb.Machine{}, nil, err
	}
	return d.machine, d.notes, nil
}

type detector struct {
	host    Host
	cfg     *Packages
	file    string // the configuration file
	machine llb.Machine
	notes   []string
}

// setting is a value and where it comes from. The zero value is that of nothing found.
type setting struct{ value, from string }

func (d *detector) gather(apt <-chan aptAnswer) error {
	pip, err := d.readPip()
	if err != nil {
		return err
	}
	uv, err := d.readUV()
	if err != nil {
		return err
	}
	d.proxies(pip.proxy)
	d.pip(pip)
	d.uv(uv, pip)
	system, systemPath := d.systemBundle()
	answer := <-apt
	hasCA, err := d.certificates(system, systemPath, pip.cert, answer.conf.ca)
	if err != nil {
		return err
	}
	return d.apt(answer, hasCA)
}

func (d *detector) note(format string, args ...any) {
	d.notes = append(d.notes, printable(fmt.Sprintf(format, args...)))
}

// noteURL notes a URL, with the remark that a step may not reach it.
func (d *detector) noteURL(what string, s setting) {
	remark := ""
	if isLoopback(s.value) {
		remark = "; it is on this machine's loopback, which a step reaches with the host's network only"
	}
	d.note("%s %s (from %s%s)", what, redact(s.value), s.from, remark)
}

// set sets a variable of the steps. Values that no variable can have, or that would be two lines, are left out.
func (d *detector) set(name, value string) {
	switch {
	case value == "":
	case strings.ContainsFunc(value, isControl):
		d.note("%s is not carried: it has control characters", name)
	default:
		d.machine.Env[name] = value
	}
}

// env is the first of the variables that is set to something.
func (d *detector) env(names ...string) setting {
	for _, name := range names {
		if v := strings.TrimSpace(d.host.Getenv(name)); v != "" {
			return setting{v, name}
		}
	}
	return setting{}
}

// configured is a value of the configuration file.
func (d *detector) configured(value string) setting {
	if value == "" {
		return setting{}
	}
	return setting{value, d.configFile()}
}

func (d *detector) configFile() string {
	if d.file == "" {
		return "ibuild's configuration"
	}
	return d.file
}

// first is the first setting that there is.
func first(settings ...setting) setting {
	for _, s := range settings {
		if s.value != "" {
			return s
		}
	}
	return setting{}
}

// read is a file of another tool, nil when it is not there. One that cannot be read is noted: its tool
// passes over it too.
func (d *detector) read(path string) []byte {
	data, err := d.host.ReadFile(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.note("%s is not used: %s", path, cause(err))
		}
		return nil
	}
	return data
}

// home is a path under the home folder, "" where there is none.
func (d *detector) home(parts ...string) string {
	home := d.host.Getenv("HOME")
	if home == "" {
		return ""
	}
	return filepath.Join(append([]string{home}, parts...)...)
}

// userConfig is a path under the user's folder of configuration files.
func (d *detector) userConfig(parts ...string) string {
	if dir := d.host.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(append([]string{dir}, parts...)...)
	}
	return d.home(append([]string{".config"}, parts...)...)
}

// systemConfig is a path under each of the system's folders of configuration files.
func (d *detector) systemConfig(parts ...string) (paths []string) {
	dirs := d.host.Getenv("XDG_CONFIG_DIRS")
	if dirs == "" {
		dirs = "/etc/xdg"
	}
	for _, dir := range filepath.SplitList(dirs) {
		if filepath.IsAbs(dir) {
			paths = append(paths, filepath.Join(append([]string{dir}, parts...)...))
		}
	}
	return paths
}

// expand replaces a leading ~/.
func (d *detector) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && d.home() != "" {
		return d.home(rest)
	}
	return path
}

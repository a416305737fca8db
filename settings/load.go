package settings

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxConfig bounds the configuration file.
const maxConfig = 1 << 20

// Load reads the configuration file. An empty path means the one that IBUILD_CONFIG names, else
// $XDG_CONFIG_HOME/ibuild/config.toml (~/.config/ibuild/config.toml): only that last one may be absent.
// Relative paths in the file are relative to the folder it is in, and "~/" is the home folder. All that is
// wrong with the file is in the error, each an [*Error].
func Load(path string) (*Config, error) {
	named := true
	if path == "" {
		path = os.Getenv("IBUILD_CONFIG")
	}
	if path == "" {
		if path, named = defaultPath(), false; path == "" {
			return &Config{}, nil
		}
	}
	data, err := readConfig(path)
	switch {
	case !named && errors.Is(err, fs.ErrNotExist):
		return &Config{}, nil
	case err != nil:
		return nil, &Error{File: path, Msg: "the configuration file cannot be read: " + cause(err), Err: err,
			Hint: "name another with --config or IBUILD_CONFIG"}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, &Error{File: path, Msg: "the configuration file's folder is not known: " + cause(err), Err: err}
	}
	return parse(path, abs, data)
}

// defaultPath is "" where there is no home folder.
func defaultPath() string {
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ibuild", "config.toml")
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "ibuild", "config.toml")
	}
	return ""
}

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(data) > maxConfig {
		err = fmt.Errorf("it is larger than %d kB", maxConfig>>10)
	}
	return data, err
}

// parse reads data; name is how errors call the file, path where it is.
func parse(name, path string, data []byte) (*Config, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	cfg := &Config{}
	dec := toml.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(cfg); err != nil {
		return nil, tomlError(name, data, cfg, err)
	}
	cfg.File = path
	c := &checker{file: name, dir: filepath.Dir(path), data: data}
	c.config(cfg)
	if len(c.errs) == 0 {
		return cfg, nil
	}
	slices.SortStableFunc(c.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	var errs []error
	for _, e := range c.errs {
		errs = append(errs, e)
	}
	return nil, errors.Join(errs...)
}

// cause is an error without the path, which is in the message already.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no such file"
	}
	return strings.TrimSpace(err.Error())
}

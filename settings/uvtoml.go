package settings

import (
	"bytes"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// uvFile is the part of a uv.toml that says where packages come from.
type uvFile struct {
	path string

	IndexURL       string    `toml:"index-url"`
	ExtraIndexURLs []string  `toml:"extra-index-url"`
	Index          []uvIndex `toml:"index"`
	InsecureHosts  []string  `toml:"allow-insecure-host"`
}

type uvIndex struct {
	Name     string `toml:"name"`
	URL      string `toml:"url"`
	Default  bool   `toml:"default"`
	Explicit bool   `toml:"explicit"`
	Format   string `toml:"format"`
}

// uvFiles reads the files that uv reads outside of projects, the stronger first.
func (d *detector) uvFiles() ([]uvFile, error) {
	var groups [][]string // of each the first that is there
	switch named := d.host.Getenv("UV_CONFIG_FILE"); {
	case named != "":
		groups = [][]string{{named}}
	case isTrue(d.host.Getenv("UV_NO_CONFIG")):
		return nil, nil
	default:
		groups = [][]string{{d.userConfig("uv", "uv.toml")}, append(d.systemConfig("uv", "uv.toml"), "/etc/uv/uv.toml")}
	}
	var files []uvFile
	for _, group := range groups {
		for _, path := range group {
			if path == "" {
				continue
			}
			data := d.read(path)
			if data == nil {
				continue
			}
			f, err := parseUV(path, data)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
			break
		}
	}
	return files, nil
}

func parseUV(path string, data []byte) (uvFile, error) {
	f := uvFile{path: path}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if err := toml.Unmarshal(data, &f); err != nil {
		return uvFile{}, tomlError(path, data, &f, err)
	}
	return f, nil
}

func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "1", "true", "t", "yes", "y", "on":
		return true
	}
	return false
}

package settings

import (
	"errors"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pipConf is the content of pip's files: settings by section and name.
type pipConf map[string]map[string]setting

// add puts a file on top of those before it. Names are as pip reads them: in lower case, with "-" for "_".
func (conf pipConf) add(path string, data []byte) error {
	file, line, err := parsePython(data)
	if err != nil {
		return &Error{File: path, Line: line, Msg: "pip cannot read this file: " + err.Error(),
			Hint: "mend it, or set PIP_CONFIG_FILE=/dev/null"}
	}
	for _, name := range []string{"global", "install"} {
		section, ok := file[name]
		if !ok {
			continue
		}
		if conf[name] == nil {
			conf[name] = map[string]setting{}
		}
		for _, from := range []map[string]string{file["DEFAULT"], section} {
			for key, value := range from {
				option := strings.TrimPrefix(strings.ReplaceAll(key, "_", "-"), "--")
				conf[name][option] = setting{value, path}
			}
		}
	}
	return nil
}

var pythonSection = pattern(`^\[(.+)\]`)

// parsePython reads a file as Python's configparser.RawConfigParser does: the libraries for ini files end a
// value of several lines at a comment or an empty line, and would lose indexes so. The line is that of the
// error. Errors show nothing of the file: it can hold passwords.
func parsePython(data []byte) (file map[string]map[string]string, line int, err error) {
	if !utf8.Valid(data) {
		return nil, 0, errors.New("it is not UTF-8")
	}
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(data), "\ufeff"))
	file = map[string]map[string]string{}
	var section map[string]string
	key, indent := "", math.MaxInt
	for i, raw := range strings.Split(text, "\n") {
		s := strings.TrimSpace(raw)
		if s == "" || s[0] == '#' || s[0] == ';' {
			continue // within a value of several lines, too
		}
		here := len(raw) - len(strings.TrimLeftFunc(raw, unicode.IsSpace))
		if key != "" && here > indent {
			section[key] += "\n" + s
			continue
		}
		indent = here
		if m := pythonSection().FindStringSubmatch(s); m != nil {
			if _, again := file[m[1]]; again && m[1] != "DEFAULT" {
				return nil, i + 1, errors.New("the section is there twice")
			}
			if file[m[1]] == nil {
				file[m[1]] = map[string]string{}
			}
			section, key = file[m[1]], ""
			continue
		}
		at := strings.IndexAny(s, "=:")
		switch {
		case section == nil:
			return nil, i + 1, errors.New("there is no [section] before this line")
		case at <= 0:
			return nil, i + 1, errors.New("the line is neither a [section] nor name = value")
		}
		key = strings.ToLower(strings.TrimSpace(s[:at]))
		if _, again := section[key]; again {
			return nil, i + 1, errors.New("the option is there twice in its section")
		}
		section[key] = strings.TrimSpace(s[at+1:])
	}
	return file, 0, nil
}

package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// sourceList gathers targets as stanzas.
type sourceList struct {
	all           []sourceEntry
	architectures []string
}

type sourceEntry struct {
	uri                string
	suites, components []string
}

func (l *sourceList) add(t aptTarget) {
	if t.arch != "all" && !slices.Contains(l.architectures, t.arch) {
		l.architectures = append(l.architectures, t.arch)
	}
	i := slices.IndexFunc(l.all, func(e sourceEntry) bool { return e.uri == t.uri && e.suites[0] == t.suite })
	if i < 0 {
		i = len(l.all)
		l.all = append(l.all, sourceEntry{uri: t.uri, suites: []string{t.suite}})
	}
	if !slices.Contains(l.all[i].components, t.component) {
		l.all[i].components = append(l.all[i].components, t.component)
	}
}

// entries are the stanzas, suites with the same place and components in one.
func (l *sourceList) entries() (out []sourceEntry) {
	for _, e := range l.all {
		i := slices.IndexFunc(out, func(o sourceEntry) bool { return o.uri == e.uri && slices.Equal(o.components, e.components) })
		if i < 0 {
			out = append(out, sourceEntry{e.uri, slices.Clone(e.suites), e.components})
		} else {
			out[i].suites = append(out[i].suites, e.suites...)
		}
	}
	return out
}

func (l *sourceList) deb822() string {
	var b strings.Builder
	for _, e := range l.entries() {
		fmt.Fprintf(&b, "\nTypes: deb\nURIs: %s\nSuites: %s\nComponents: %s\n",
			e.uri, strings.Join(e.suites, " "), strings.Join(e.components, " "))
	}
	return b.String()
}

// aptSources makes the steps' file from the user's: below a line that says for which release it is (any,
// unless the user's first line says it), without Signed-By where it names a file, which the image may not
// have; a key that is written out stays.
func aptSources(data []byte) ([]byte, error) {
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	if strings.ContainsFunc(text, func(r rune) bool { return isControl(r) && r != '\n' && r != '\t' }) {
		return nil, errors.New("it has control characters")
	}
	var out strings.Builder
	if !strings.HasPrefix(text, "# codename: ") {
		out.WriteString("# codename: *\n\n")
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	fields := map[string]int{} // of the stanza, by line number
	stanzas, last := 0, ""
	end := func(line int) error {
		if len(fields) == 0 {
			return nil
		}
		for _, name := range []string{"Types", "URIs", "Suites"} {
			if _, ok := fields[strings.ToLower(name)]; !ok {
				return fmt.Errorf("the stanza that ends at line %d has no %s", line, name)
			}
		}
		stanzas++
		fields = map[string]int{}
		return nil
	}
	skip := false
	for i, line := range lines {
		name, value, isField := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if err := end(i); err != nil {
				return nil, err
			}
			last, skip = "", false
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				return nil, fmt.Errorf("line %d goes on with a field that there is not", i+1)
			}
		case !isField || strings.ContainsAny(name, " \t["):
			return nil, fmt.Errorf("line %d is not a field of a deb822 file", i+1)
		default:
			last = strings.ToLower(name)
			fields[last] = i + 1
			skip = last == "signed-by" && strings.Contains(value, "/")
			if last == "signed-by" && strings.TrimSpace(value) == "" && i+1 < len(lines) {
				skip = strings.HasPrefix(strings.TrimSpace(lines[i+1]), "/")
			}
		}
		if !skip {
			out.WriteString(line + "\n")
		}
	}
	if err := end(len(lines)); err != nil {
		return nil, err
	}
	if stanzas == 0 {
		return nil, errors.New("there is no stanza in it")
	}
	if out.Len() > maxSecret {
		return nil, fmt.Errorf("it is larger than %d kB", maxSecret>>10)
	}
	return []byte(out.String()), nil
}

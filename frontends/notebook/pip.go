package notebook

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/google/shlex"

	"github.com/ibuild/ibuild/frontends/source"
)

// pipCommand is a pip line that installs something.
type pipCommand struct {
	at           place
	where        *source.Error // for findings about it that come later
	requirements []string
	pre          bool
	links        []string // --find-links
	indexes      []index
}

// index is a package index that a pip line names.
type index struct {
	url     string
	instead bool // of PyPI, not beside it
}

// pipLine says whether a magic or command is pip's, and returns what follows the word pip: the
// subcommand and its arguments, as they are written.
func pipLine(text string) (rest string, ok bool) {
	var words []string
	switch {
	case strings.HasPrefix(text, "%pip "):
		return strings.TrimSpace(text[len("%pip "):]), true
	case strings.HasPrefix(text, "%uv "):
		words = []string{"uv"}
		text = text[len("%uv "):]
	case strings.HasPrefix(text, "!"):
		// The interpreter of the notebook is a Python like any other here.
		text = strings.ReplaceAll(strings.TrimLeft(text, "!"), "{sys.executable}", "python")
	default:
		return "", false
	}
	for {
		text = strings.TrimLeft(text, " \t")
		word := text
		if i := strings.IndexAny(text, " \t"); i >= 0 {
			word = text[:i]
		}
		text = text[len(word):]
		words = append(words, word)
		switch program := strings.TrimRight(path.Base(words[0]), "0123456789."); {
		case program == "pip", program == "uv" && len(words) == 2 && word == "pip",
			program == "python" && slices.Equal(words[1:], []string{"-m", "pip"}),
			program == "python" && slices.Equal(words[1:], []string{"-m", "uv", "pip"}):
			return strings.TrimSpace(text), true
		case word == "" || len(words) > 3:
			return "", false
		}
	}
}

// pipCommand reads what a pip line installs. The line becomes a comment.
func (t *translator) pipCommand(s statement, start int, text, rest string) {
	where := s.finding(start, "", "")
	fail := func(msg, hint string) {
		e := *where
		e.Msg, e.Hint = msg, hint
		t.errs = append(t.errs, &e)
	}
	args, special := shellText(rest)
	words, err := shlex.Split(args)
	switch {
	case err != nil:
		fail("the pip line has a quote that is not closed", "")
		return
	case special == '<' || special == '>':
		fail(fmt.Sprintf("the shell reads %c as a redirect, not as part of a version", special), `quote the requirement and pin it, e.g. "numpy==2.1.0"`)
		return
	case special == '{' || special == '$' || special == '`':
		fail(fmt.Sprintf("the pip line has a part (%c) that is known in a notebook only", special), "write it out")
		return
	case special != 0:
		fail(fmt.Sprintf("the pip line has more than one command (%c)", special), "give each its own line")
		return
	case len(words) == 0:
		s.cell.comment(s.first(), s.last())
		return
	}
	switch words[0] {
	case "list", "show", "freeze", "check", "--version", "-V", "config", "debug", "inspect", "cache", "help", "tree":
	case "install":
		c := pipCommand{at: s.cell.at(s.first()), where: where}
		c.at.column = where.Column
		before := len(t.errs)
		c.arguments(words[1:], fail)
		if len(c.requirements) == 0 && len(t.errs) == before {
			fail("pip install names no package", "remove the line")
		}
		if len(t.errs) == before {
			t.pip = append(t.pip, c)
		}
	default:
		fail(fmt.Sprintf("pip %s works in a notebook only", words[0]), "remove the line")
		return
	}
	s.cell.comment(s.first(), s.last())
}

// shellText cuts off a comment and what sends the output away, and returns the first character that
// means something to the shell, or to IPython, which fills in names within quotes, too.
func shellText(text string) (clean string, special byte) {
	var quote byte
	end := len(text)
	for i := 0; i < len(text) && end == len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		case quote == 0 && c == '#' && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t'):
			end = i
		}
	}
	clean = regexp.MustCompile(`(\s+(\d?>{1,2}|&>)\s*(/dev/null|&\d))+\s*$`).ReplaceAllString(text[:end], "")
	quote = 0
	for i := 0; i < len(clean); i++ {
		switch c := clean[i]; {
		case c == '{' || c == '$' || c == '`':
			return clean, c
		case c == '\\' && quote != '\'':
			i++
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		case quote == 0 && strings.IndexByte("|&;<>()", c) >= 0:
			return clean, c
		}
	}
	return clean, 0
}

// arguments reads the words after install.
func (c *pipCommand) arguments(words []string, fail func(msg, hint string)) {
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if !strings.HasPrefix(word, "-") {
			c.requirement(word, fail)
			continue
		}
		name, value, given := strings.Cut(word, "=")
		if !strings.HasPrefix(word, "--") && len(word) > 2 && strings.Contains("ifrce", word[1:2]) {
			name, value, given = word[:2], word[2:], true
		}
		kind := pipOption(name)
		if kind.value && !given {
			if len(words) == 0 {
				fail(name+" has no value", "")
				return
			}
			value, words = words[0], words[1:]
		}
		if strings.IndexFunc(value, unicode.IsControl) >= 0 {
			fail(name+" has a line end in its value", "")
			return
		}
		kind.apply(c, name, value, fail)
	}
}

// option is what a pip option means here.
type option struct {
	value bool // it takes one
	apply func(c *pipCommand, name, value string, fail func(msg, hint string))
}

// pipOption knows the options of pip install and uv pip install.
func pipOption(name string) option {
	nothing := func(*pipCommand, string, string, func(string, string)) {}
	refuse := func(hint string) func(*pipCommand, string, string, func(string, string)) {
		return func(_ *pipCommand, name, _ string, fail func(msg, hint string)) {
			fail("pip install "+name+" has no place in a header", hint)
		}
	}
	switch name {
	case "--quiet", "--verbose", "--upgrade", "--user", "--system", "--yes", "--no-cache-dir", "--no-cache", "--no-input", "--no-color",
		"--disable-pip-version-check", "--no-python-version-warning", "--no-warn-script-location", "--no-warn-conflicts", "--break-system-packages",
		"--force-reinstall", "--reinstall", "--ignore-installed", "--prefer-binary", "--compile", "--no-compile", "--compile-bytecode", "--no-progress":
		return option{apply: nothing}
	case "--upgrade-strategy", "--progress-bar", "--root-user-action", "--cache-dir", "--timeout", "--retries":
		return option{value: true, apply: nothing}
	case "--pre":
		return option{apply: func(c *pipCommand, _, _ string, _ func(string, string)) { c.pre = true }}
	case "-i", "--index-url", "--default-index":
		return option{value: true, apply: func(c *pipCommand, _, v string, _ func(string, string)) {
			c.indexes = append(c.indexes, index{url: v, instead: true})
		}}
	case "--extra-index-url", "--index":
		return option{value: true, apply: func(c *pipCommand, _, v string, _ func(string, string)) {
			c.indexes = append(c.indexes, index{url: v})
		}}
	case "-f", "--find-links":
		return option{value: true, apply: func(c *pipCommand, _, v string, _ func(string, string)) { c.links = append(c.links, v) }}
	case "-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints":
		return option{value: true, apply: refuse("list the requirements of the file in the line, pinned")}
	case "-e", "--editable":
		return option{value: true, apply: refuse("publish the package to an index or name it by a URL")}
	}
	if len(name) > 1 && strings.Trim(name[1:], "qvUIyn") == "" {
		return option{apply: nothing} // -q, -qU, …
	}
	return option{apply: refuse("remove it, or write the header (PEP 723) by hand")}
}

// requirement takes one that an install line names.
func (c *pipCommand) requirement(text string, fail func(msg, hint string)) {
	name, version := splitRequirement(text)
	switch {
	case name != "" && strings.HasPrefix(version, "@") && strings.IndexFunc(text, unicode.IsControl) < 0:
		c.requirements = append(c.requirements, text)
	case strings.Contains(text, "://") && name == "":
		fail(fmt.Sprintf("%q does not say which package it is", text), fmt.Sprintf("write %q", "name @ "+text))
	case strings.HasPrefix(text, ".") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, "~") || strings.HasSuffix(text, ".whl"):
		fail(fmt.Sprintf("local packages (%q) are not supported", text), "publish the package to an index or name it by a URL")
	case name == "" || strings.IndexFunc(text, unicode.IsControl) >= 0:
		fail(fmt.Sprintf("%q is not a requirement", text), "write e.g. numpy==2.1.0")
	default:
		c.requirements = append(c.requirements, text)
	}
}

// splitRequirement returns the package's name, "" when there is none, and what says its version.
func splitRequirement(text string) (name, version string) {
	m := regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*((?:[@=<>!~;(].*)?)$`).FindStringSubmatch(text)
	if m == nil {
		return "", ""
	}
	return m[1], m[2]
}

// isPinned says whether a requirement allows one version only, or names a URL.
func isPinned(text string) bool {
	_, version := splitRequirement(text)
	if strings.HasPrefix(version, "@") {
		return true
	}
	version, _, _ = strings.Cut(version, ";")
	for clause := range strings.SplitSeq(strings.Trim(version, "() "), ",") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(clause), "=="); ok && strings.Trim(v, "= ") != "" && !strings.Contains(v, "*") {
			return true
		}
	}
	return false
}

// pinned checks what the pip lines say together.
func (t *translator) pinned() {
	var all []string
	for _, c := range t.pip {
		all = append(all, c.requirements...)
	}
	slices.Sort(all)
	hint := "pin them with ==, or " + headerHint(slices.Compact(all))
	versions := map[string]string{}
	defaultIndex := ""
	for _, c := range t.pip {
		if loose := slices.DeleteFunc(slices.Clone(c.requirements), isPinned); len(loose) > 0 {
			t.pipError(c, "pip installs whatever version there is of "+strings.Join(loose, ", "), hint)
		}
		for _, r := range c.requirements {
			name, version := splitRequirement(r)
			name = regexp.MustCompile(`[-_.]+`).ReplaceAllString(strings.ToLower(name), "-")
			if other, ok := versions[name]; ok && other != version && !strings.Contains(other+version, ";") {
				t.pipError(c, fmt.Sprintf("two pip lines ask for different versions of %s", name), "keep one")
			}
			versions[name] = version
		}
		for _, x := range c.indexes {
			if x.instead && defaultIndex != "" && defaultIndex != x.url {
				t.pipError(c, "two pip lines name different indexes instead of PyPI", "keep one, the other as --extra-index-url")
			}
			if x.instead {
				defaultIndex = x.url
			}
		}
	}
}

// needless refuses pip lines beside a header.
func (t *translator) needless() {
	for _, c := range t.pip {
		quoted := make([]string, len(c.requirements))
		for i, r := range c.requirements {
			quoted[i] = tomlText(r)
		}
		t.pipError(c, "the notebook has a header, so pip lines are not run", "add "+strings.Join(quoted, ", ")+" to its dependencies and remove the line")
	}
}

func (t *translator) pipError(c pipCommand, msg, hint string) {
	e := *c.where
	e.Msg, e.Hint = msg, hint
	t.errs = append(t.errs, &e)
}

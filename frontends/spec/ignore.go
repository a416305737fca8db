package spec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/ibuild/ibuild/frontends/source"
)

// ignoreFile is honoured beside the spec.
const ignoreFile = ".dockerignore"

// StandardIgnores are the patterns that apply to every source folder unless they are switched off:
// what belongs to a checkout, a machine or an editor, and what is likely to hold secrets.
func StandardIgnores() []string {
	return []string{
		// version control
		"**/.git", "**/.hg", "**/.svn", "**/.bzr", "**/.jj",
		// caches
		"**/__pycache__", "**/*.pyc", "**/.cache", "**/.mypy_cache", "**/.ruff_cache", "**/.pytest_cache", "**/.tox", "**/.nox",
		// virtual environments and other installed packages
		"**/.venv", "**/venv", "**/.pixi", "**/node_modules",
		// settings with secrets
		"**/.env", "**/.env.local", "**/.env.*.local", "**/.envrc",
		// notebooks, editors, desktops
		"**/.ipynb_checkpoints", "**/.idea", "**/.vscode", "**/.DS_Store",
	}
}

// ignorePattern is one line of an ignore file.
type ignorePattern struct {
	text   string // cleaned, without the !
	except bool   // began with !
	line   int
}

// ignores are the patterns of one ignore file, relative to its folder.
type ignores struct {
	file     string // for messages
	data     []byte
	patterns []ignorePattern
}

// readIgnores reads the ignore file of a folder; without one there are no patterns.
func readIgnores(root *os.Root, shown string) (ignores, error) {
	f, err := root.Open(ignoreFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ignores{}, nil
	}
	if err != nil {
		return ignores{}, &source.Error{File: shown, Msg: fmt.Sprintf("cannot be read: %v", pathless(err)), Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, source.SpecLimit+1))
	switch {
	case err != nil:
		return ignores{}, &source.Error{File: shown, Msg: fmt.Sprintf("cannot be read: %v", pathless(err)), Err: err}
	case len(data) > source.SpecLimit:
		return ignores{}, &source.Error{File: shown, Msg: "larger than the limit of 1 MiB"}
	}
	return parseIgnores(shown, data)
}

// parseIgnores reads line by line, which costs nothing and keeps the lines' numbers.
func parseIgnores(shown string, data []byte) (ignores, error) {
	src, err := source.New(shown, "", data)
	if err != nil {
		return ignores{}, err
	}
	ig := ignores{file: shown, data: src.Data}
	var errs source.Errors
	for i, line := range strings.Split(string(src.Data), "\n") {
		patterns, err := ignorefile.ReadAll(strings.NewReader(line))
		if err == nil && len(patterns) == 1 {
			_, err = patternmatcher.New(patterns)
		}
		if err != nil {
			errs = append(errs, ig.problem(i+1, fmt.Sprintf("%q is not an ignore pattern", strings.TrimSpace(line)), ""))
			continue
		}
		for _, p := range patterns {
			text, except := strings.CutPrefix(p, "!")
			ig.patterns = append(ig.patterns, ignorePattern{text: text, except: except, line: i + 1})
		}
	}
	return ig, errs.Err()
}

func (ig ignores) problem(line int, msg, hint string) *source.Error {
	return &source.Error{File: ig.file, Line: line, Column: 1, Msg: msg, Hint: hint, Data: ig.data}
}

// matches says whether a file is ignored.
func (ig ignores) matches(file string) (bool, error) {
	if len(ig.patterns) == 0 {
		return false, nil
	}
	m, err := patternmatcher.New(ig.texts())
	if err != nil {
		return false, ig.problem(1, err.Error(), "")
	}
	return m.MatchesOrParentMatches(file)
}

func (ig ignores) texts() []string {
	out := make([]string, len(ig.patterns))
	for i, p := range ig.patterns {
		out[i] = p.String()
	}
	return out
}

// String is the pattern as a file has it.
func (p ignorePattern) String() string {
	if p.except {
		return "!" + p.text
	}
	return p.text
}

// below translates the patterns, which are relative to the ignore file's folder, to the ones that say
// the same relative to a folder below it. A pattern that takes in the whole folder becomes "**". When
// the last one to do so is no exception, nothing before it counts; with no exception after it the
// result is just "**": the folder is ignored altogether.
func (ig ignores) below(dir string) ([]string, error) {
	if dir == "." {
		return ig.texts(), nil
	}
	var out []string
	for _, p := range ig.patterns {
		segments, err := ig.split(p)
		if err != nil {
			return nil, err
		}
		for _, rest := range consume(segments, strings.Split(dir, "/")) {
			text := path.Join(rest...)
			if len(rest) == 0 {
				text = "**"
				out = nil // everything before it is overruled
			}
			// What may stand in the middle of a pattern means something else at its beginning.
			if strings.HasPrefix(text, " ") || strings.HasPrefix(text, "!") {
				text = "[" + text[:1] + "]" + text[1:]
			}
			q := ignorePattern{text: text, except: p.except}
			if text == "**" && p.except {
				continue // the same as no pattern at all
			}
			out = append(out, q.String())
		}
	}
	return out, nil
}

// split parts a pattern at its slashes. Docker's ** crosses folders wherever it stands: "**.log" takes in
// all names that end so, but is "**/.log" where another wildcard follows; "x**" at the end takes in all
// that begins with x. Anything more daring is refused.
func (ig ignores) split(p ignorePattern) ([]string, error) {
	var out []string
	segments := strings.Split(strings.Trim(p.text, "/"), "/")
	for i, s := range segments {
		switch {
		case s == "**" || !strings.Contains(s, "**"):
			out = append(out, s)
		case i == 0 && strings.HasPrefix(s, "**") && !strings.ContainsAny(p.text[2:], `*?[\`):
			out = append(out, "**", "*"+s[2:])
		case strings.Count(s, "*") == 2 && strings.HasPrefix(s, "**"):
			out = append(out, "**", s[2:])
		case strings.Count(s, "*") == 2 && strings.HasSuffix(s, "**") && i == len(segments)-1:
			out = append(out, s[:len(s)-1])
		default:
			return nil, ig.problem(p.line, fmt.Sprintf("the pattern %q cannot be applied to a folder below", p.text),
				"write ** between slashes, e.g. a/**/b")
		}
	}
	return out, nil
}

// consume returns what is left of a pattern after it has matched the elements of a folder's path, in
// every way in which it can: ** may match none, some, or all of them and go on. An empty rest means
// that the folder or one above it matches.
func consume(pattern, dir []string) [][]string {
	at := map[int]bool{0: true} // the places in the pattern that can be reached
	for _, name := range dir {
		next := map[int]bool{}
		for i := range reach(pattern, at) {
			switch {
			case i == len(pattern):
				return [][]string{{}} // a folder above matches, and so does all below it
			case pattern[i] == "**":
				next[i] = true
			default:
				if ok, err := path.Match(pattern[i], name); err == nil && ok {
					next[i+1] = true
				}
			}
		}
		at = next
	}
	if reach(pattern, at)[len(pattern)] {
		return [][]string{{}}
	}
	var out [][]string
	for _, i := range slices.Sorted(maps.Keys(at)) {
		out = append(out, pattern[i:])
	}
	return out
}

// reach adds the places that are reached without any element, because a ** may match nothing.
func reach(pattern []string, at map[int]bool) map[int]bool {
	all := maps.Clone(at)
	for i := range pattern {
		if all[i] && pattern[i] == "**" {
			all[i+1] = true
		}
	}
	return all
}

package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

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

// Bounds of an ignore file: its patterns are looked at for every source, and become a part of its step.
const (
	maxPatterns    = 10_000
	maxPatternWork = 2_000_000 // elements of patterns, times the sources of a spec that they are applied to
)

// ignorePattern is one line of an ignore file.
type ignorePattern struct {
	text     string // cleaned, without the !
	except   bool   // began with !
	line     int
	segments []string // see [ignores.split]
}

// ignores are the patterns of one ignore file, relative to its folder.
type ignores struct {
	file     string // for messages
	data     []byte
	patterns []ignorePattern

	matcher *patternmatcher.PatternMatcher // nil until the first file
	work    int                            // so far, see [maxPatternWork]
}

// readIgnores reads the ignore file of a folder; without one there are no patterns.
func readIgnores(root *os.Root, shown string) (*ignores, error) {
	data, err := source.ReadFile(root.FS(), ignoreFile, source.SpecLimit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &ignores{}, nil
	case err != nil:
		return &ignores{}, &source.Error{File: shown, Msg: fmt.Sprintf("cannot be read: %v", pathless(err)), Err: err}
	}
	return parseIgnores(shown, data)
}

// parseIgnores reads line by line, which costs nothing and keeps the lines' numbers.
func parseIgnores(shown string, data []byte) (*ignores, error) {
	src, err := source.New(shown, "", data)
	if err != nil {
		return &ignores{}, err
	}
	ig := &ignores{file: shown, data: src.Data}
	var errs source.Errors
	seen := map[string]bool{} // since the last change from patterns to exceptions or back
	n := 0
	for line := range strings.SplitSeq(string(src.Data), "\n") {
		n++
		p, ok := parsePattern(line)
		p.line = n
		switch {
		case !ok:
			errs = append(errs, ig.problem(n, fmt.Sprintf("%q is not an ignore pattern", short(strings.TrimSpace(line))), ""))
			continue
		case p.text == "": // a comment
			continue
		case len(ig.patterns) > 0 && ig.patterns[len(ig.patterns)-1].except != p.except:
			clear(seen)
		case seen[p.text]:
			continue // says nothing new
		}
		if len(ig.patterns) == maxPatterns {
			errs = append(errs, ig.problem(n, fmt.Sprintf("more than %d patterns", maxPatterns), "ignore folders instead of the files in them"))
			break
		}
		seen[p.text] = true
		ig.patterns = append(ig.patterns, p)
	}
	return ig, errs.Err()
}

// parsePattern reads one line; a comment has no text.
func parsePattern(line string) (p ignorePattern, ok bool) {
	if len(line) > maxPath {
		return p, strings.HasPrefix(line, "#")
	}
	list, err := ignorefile.ReadAll(strings.NewReader(line))
	if err != nil || len(list) == 0 {
		return p, err == nil
	}
	// Patterns travel to builders in headers, where control characters cannot be.
	if _, err := patternmatcher.New(list); err != nil || control(list[0]) {
		return p, false
	}
	// "a /" is read as "a ", which the matcher trims and cleans again. What it then has is the pattern.
	text := strings.TrimSpace(list[0])
	if text == "" || strings.HasPrefix(text, "/") {
		return p, true // "/ /a" becomes "/a", and no path in the folder begins with a slash
	}
	text, p.except = strings.CutPrefix(path.Clean(text), "!")
	p.text = atEnd(text)
	return p, true
}

// atEnd protects a space at the end of a pattern ("a / /" is one for the name "a "): the next one who reads the
// pattern would cut it off.
func atEnd(text string) string {
	last, size := utf8.DecodeLastRuneInString(text)
	if !unicode.IsSpace(last) {
		return text
	}
	head := text[:len(text)-size]
	escapes := len(head) - len(strings.TrimRight(head, `\`))
	return head[:len(head)-escapes%2] + "[" + string(last) + "]" // a backslash before it is what this replaces
}

func (ig *ignores) problem(line int, msg, hint string) *source.Error {
	return &source.Error{File: ig.file, Line: line, Column: 1, Msg: msg, Hint: hint, Data: ig.data}
}

// apply notes that the patterns are applied to one more source, which has its price.
func (ig *ignores) apply() error {
	for _, p := range ig.patterns {
		ig.work += 1 + strings.Count(p.text, "/")
	}
	if ig.work <= maxPatternWork {
		return nil
	}
	return ig.problem(1, fmt.Sprintf("%d patterns are too many for so many sources", len(ig.patterns)), "ignore folders instead of the files in them, or copy the folder that holds the sources")
}

// matches says whether a file is ignored.
func (ig *ignores) matches(file string) (bool, error) {
	if len(ig.patterns) == 0 {
		return false, nil
	}
	if err := ig.apply(); err != nil {
		return false, err
	}
	if ig.matcher == nil {
		m, err := patternmatcher.New(ig.texts())
		if err != nil {
			return false, ig.problem(1, err.Error(), "")
		}
		ig.matcher = m
	}
	return ig.matcher.MatchesOrParentMatches(file)
}

func (ig *ignores) texts() []string {
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
func (ig *ignores) below(dir string) ([]string, error) {
	if err := ig.apply(); err != nil {
		return nil, err
	}
	if dir == "." {
		return ig.texts(), nil
	}
	names := strings.Split(dir, "/")
	var out []string
	for i := range ig.patterns {
		p := &ig.patterns[i]
		if err := ig.split(p); err != nil {
			return nil, err
		}
		for _, rest := range consume(p.segments, names) {
			text := path.Join(rest...)
			switch {
			case len(rest) == 0:
				text = "**"
				out = nil // everything before it is overruled
			case text == p.text:
				text = p.text // one text for all sources
			default:
				text = atBeginning(text)
			}
			if text == "**" && p.except {
				continue // the same as no pattern at all
			}
			out = append(out, ignorePattern{text: text, except: p.except}.String())
		}
	}
	return out, nil
}

// atBeginning protects what may stand in the middle of a pattern, and means something else at its beginning:
// an exclamation mark, and space, which is cut off.
func atBeginning(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if first != '!' && !unicode.IsSpace(first) {
		return text
	}
	return "[" + text[:size] + "]" + text[size:]
}

// split parts a pattern at its slashes, once. Docker's ** crosses folders wherever it stands: "**.log" takes in
// all names that end so, but is "**/.log" where another wildcard follows; "x**" at the end takes in all
// that begins with x. Anything more daring is refused.
func (ig *ignores) split(p *ignorePattern) error {
	if p.segments != nil {
		return nil
	}
	var out []string
	segments := strings.Split(strings.Trim(p.text, "/"), "/")
	for i, s := range segments {
		switch {
		case s == "**" || !strings.Contains(s, "**"):
			out = append(out, s)
		case i == 0 && strings.HasPrefix(s, "**") && !strings.ContainsAny(p.text[2:], `*?[\`):
			out = append(out, "**", "*"+s[2:])
		case strings.Count(s, "*") == 2 && strings.HasPrefix(s, "**") && s != "**." && s != "**..":
			out = append(out, "**", s[2:])
		case strings.Count(s, "*") == 2 && strings.HasSuffix(s, "**") && i == len(segments)-1:
			out = append(out, s[:len(s)-1])
		default:
			return ig.problem(p.line, fmt.Sprintf("the pattern %q cannot be applied to a folder below", p.text),
				"write ** between slashes, e.g. a/**/b")
		}
	}
	p.segments = out
	return nil
}

// consume returns what is left of a pattern after it has matched the elements of a folder's path, in
// every way in which it can: ** may match none, some, or all of them and go on. An empty rest means
// that the folder or one above it matches.
func consume(pattern, dir []string) [][]string {
	at := make([]bool, len(pattern)+1) // the places in the pattern that can be reached
	at[0] = true
	for _, name := range dir {
		next := make([]bool, len(pattern)+1)
		all := reach(pattern, at)
		if all[len(pattern)] {
			return [][]string{{}} // a folder above matches, and so does all below it
		}
		for i, segment := range pattern {
			switch {
			case !all[i]:
			case segment == "**":
				next[i] = true
			default:
				if ok, err := path.Match(segment, name); err == nil && ok {
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
	for i := range pattern {
		if at[i] {
			out = append(out, pattern[i:])
		}
	}
	return out
}

// reach adds the places that are reached without any element, because a ** may match nothing.
func reach(pattern []string, at []bool) []bool {
	all := slices.Clone(at)
	for i := range pattern {
		if all[i] && pattern[i] == "**" {
			all[i+1] = true
		}
	}
	return all
}

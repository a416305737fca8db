package llb

import (
	"encoding/json"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
)

// rules say what of a local source can be seen, in the patterns of BuildKit's local sources.
type rules struct{ include, exclude []string }

// localState is the local source that a Copy or a LocalMount reads.
func localState(local string, r rules, name string) bk.State {
	opts := []bk.LocalOption{bk.SharedKeyHint(local), bk.WithCustomName(name)}
	if r.include != nil {
		opts = append(opts, bk.IncludePatterns(r.include))
	}
	if r.exclude != nil {
		opts = append(opts, bk.ExcludePatterns(r.exclude))
	}
	return bk.Local(local, opts...)
}

// attrs are the rules as attributes of a local source.
func (r rules) attrs() map[string]string {
	out := map[string]string{}
	for attr, list := range map[string][]string{pb.AttrIncludePatterns: r.include, pb.AttrExcludePatterns: r.exclude} {
		if list != nil {
			data, _ := json.Marshal(list) // strings always marshal
			out[attr] = string(data)
		}
	}
	return out
}

// rules are what the step copies.
func (s Copy) rules() rules {
	if !s.Dir || len(s.Only) == 0 {
		return rulesFor(s.Src, s.Dir, s.Exclude)
	}
	r := rules{include: make([]string, len(s.Only))}
	for i, p := range s.Only {
		r.include[i] = literal(path.Join(s.Src, p))
	}
	return r
}

// rulesFor show all of the folder src less the excluded patterns (relative to src), or one file.
func rulesFor(src string, dir bool, exclude []string) rules {
	var r rules
	src = path.Clean(src)
	if src != "." {
		r.include = []string{literal(src)}
	}
	if !dir || len(exclude) == 0 {
		return r
	}
	r.exclude = make([]string, len(exclude))
	for i, x := range exclude {
		name, not := strings.CutPrefix(x, "!")
		r.exclude[i] = inFolder(src, name)
		if not {
			r.exclude[i] = "!" + r.exclude[i]
		}
	}
	return r
}

// inFolder says for a whole local source what a pattern says for the folder src. Mostly that is the pattern behind
// src. But "**/name" costs the library that matches (moby/patternmatcher) a comparison of the path's end, and
// "src/**/name" a regular expression that tries every slash: with the standard ignores, 80 ms of CPU for 10,000
// files. So a pattern for a name in every folder stays as it is where that means the same:
//
//   - The name takes in no slash (see [names]), so a path is taken in if and only if its last part is. The last part
//     of a path in src is the same with src before it and without.
//   - Neither src nor a folder above it is taken in, with which all of src would go. What is beside src is hidden
//     anyway: src is all that the rules include.
//
// As each pattern of a list takes in what it did, so does the list, with its order and its exceptions. The one
// difference is in folders with a line break in their names: there the longer form overlooks files.
func inFolder(src, pattern string) string {
	pattern = path.Clean(pattern)
	name, everywhere := strings.CutPrefix(pattern, "**/")
	if !everywhere || !names(name) {
		return path.Join(literal(src), pattern)
	}
	for part := range strings.SplitSeq(src, "/") {
		if taken, err := path.Match(name, part); taken || err != nil {
			return path.Join(literal(src), pattern)
		}
	}
	if end, ok := strings.CutPrefix(name, "*"); ok && end != "" && !strings.ContainsAny(end, "*?") {
		return "**" + end // a path that ends so, which is a comparison, too
	}
	return pattern
}

// names says that a pattern takes in single names, by letters, * and ? alone. Others may take in more than one, as
// the library makes regular expressions of them: [^a] takes in a slash, \S and a ** within a name do, | parts the
// whole pattern, letters that are not UTF-8 become others, and outer space is cut off.
func names(pattern string) bool {
	return pattern != "" && !strings.ContainsAny(pattern, `/[]\^{}|`) && !strings.Contains(pattern, "**") &&
		utf8.ValidString(pattern) && strings.TrimSpace(pattern) == pattern
}

// literal escapes a path for the patterns of BuildKit's local sources, which become regular expressions
// in which only some characters are escaped (moby/patternmatcher). A pattern's outer spaces are trimmed, all of
// Unicode's, and so is a byte order mark at its beginning.
func literal(p string) string {
	var b strings.Builder
	for i, r := range p {
		outer := i == 0 || i+utf8.RuneLen(r) == len(p)
		switch {
		case outer && (unicode.IsSpace(r) || r == '\ufeff'):
			b.WriteString("[" + string(r) + "]")
			continue
		case strings.ContainsRune(`\*?[]{}()^+|!`, r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

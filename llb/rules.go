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
	src = literal(path.Clean(src))
	if src != "." {
		r.include = []string{src}
	}
	if !dir || len(exclude) == 0 {
		return r
	}
	r.exclude = make([]string, len(exclude))
	for i, x := range exclude {
		name, not := strings.CutPrefix(x, "!")
		r.exclude[i] = path.Join(src, name)
		if not {
			r.exclude[i] = "!" + r.exclude[i]
		}
	}
	return r
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

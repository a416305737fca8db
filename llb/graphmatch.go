package llb

import (
	"cmp"
	"regexp"
	"strings"
	"sync"
)

// Bounds of the work of finding steps by their places, in old steps times new ones: above maxWordAlign the words
// of a step are not looked at, above maxAlign only steps that do the same are found.
const (
	maxWordAlign = 1 << 16
	maxAlign     = 1 << 21
)

// match finds for each new step the old one that it was, -1 for none. Both lists are read in order, as a diff
// of texts does it, so that a step put in between or taken out leaves the others where they are; a step that
// was moved is found after that by what it does.
func match(old, now []OutlineStep) []int {
	pairs := make([]int, len(now))
	for i := range pairs {
		pairs[i] = -1
	}
	start := 0
	for start < min(len(old), len(now)) && alike(&old[start], &now[start]) {
		pairs[start] = start
		start++
	}
	end := 0
	for end < min(len(old), len(now))-start && alike(&old[len(old)-1-end], &now[len(now)-1-end]) {
		end++
		pairs[len(now)-end] = len(old) - end
	}
	if o, n := old[start:len(old)-end], now[start:len(now)-end]; len(o)*len(n) <= maxAlign {
		align(o, n, func(i, j int) { pairs[start+j] = start + i })
	}
	matchMoved(old, now, pairs)
	return pairs
}

// alike says that two steps are certainly the same one.
func alike(a, b *OutlineStep) bool { return a.Own == b.Own && plainName(a.Name) == plainName(b.Name) }

// candidate is a step with what is compared of it.
type candidate struct {
	*OutlineStep
	plain      string // name
	repository string
	words      []string // of the command, else of the name
}

func candidates(list []OutlineStep) []candidate {
	out := make([]candidate, len(list))
	for i := range list {
		s := &list[i]
		plain := plainName(s.Name)
		out[i] = candidate{s, plain, s.repository(), strings.Fields(cmp.Or(s.command(), plain))}
	}
	return out
}

// align finds the pairs of the highest total score that do not cross (Needleman and Wunsch, without a price
// for gaps).
func align(old, now []OutlineStep, pair func(i, j int)) {
	scores := make([][]int, len(old))
	best := make([][]int, len(old)+1) // of the steps from i and j on
	for i := range best {
		best[i] = make([]int, len(now)+1)
	}
	byWords := len(old)*len(now) <= maxWordAlign
	was, is := candidates(old), candidates(now)
	for i := len(old) - 1; i >= 0; i-- {
		scores[i] = make([]int, len(now))
		for j := len(now) - 1; j >= 0; j-- {
			s := likeness(&was[i], &is[j], byWords)
			scores[i][j] = s
			best[i][j] = max(best[i+1][j], best[i][j+1])
			if s > 0 {
				best[i][j] = max(best[i][j], s+best[i+1][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(old) && j < len(now); {
		switch s := scores[i][j]; {
		case s > 0 && best[i][j] == s+best[i+1][j+1]:
			pair(i, j)
			i, j = i+1, j+1
		case best[i][j] == best[i+1][j]:
			i++
		default:
			j++
		}
	}
}

// matchMoved pairs what is left and does the same.
func matchMoved(old, now []OutlineStep, pairs []int) {
	taken := map[int]bool{}
	for _, o := range pairs {
		taken[o] = true
	}
	left := map[string][]int{}
	for i := range old {
		if !taken[i] {
			left[string(old[i].Own)] = append(left[string(old[i].Own)], i)
		}
	}
	for j := range now {
		if list := left[string(now[j].Own)]; pairs[j] < 0 && len(list) > 0 {
			pairs[j], left[string(now[j].Own)] = list[0], list[1:]
		}
	}
}

// Scores of two steps that may be the same one. What does the same counts most, then the name, then words.
const (
	scoreOwn   = 100
	scoreName  = 60
	scoreWords = 40 // times the part of words that are the same
	minWords   = 0.4
)

// likeness is how likely it is that b is what became of a; 0 when it is another step.
func likeness(a, b *candidate, byWords bool) int {
	switch {
	case a.Kind != b.Kind:
		return 0
	case a.Own == b.Own:
		return scoreOwn
	case a.plain == b.plain:
		return scoreName
	case a.Kind == StepImage && a.repository == b.repository:
		return scoreWords
	case !byWords:
		return 0
	}
	part := shared(a.words, b.words)
	if part < minWords {
		return 0
	}
	return int(scoreWords * part)
}

// counterPattern is the place of a step among others, as BuildKit's Dockerfile frontend puts it before names:
// it moves with every step that is put in.
var counterPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\d+/\d+\]`) })

func plainName(name string) string { return counterPattern().ReplaceAllString(name, "]") }

// repository is the name of a loaded image without its tag.
func (s *OutlineStep) repository() string {
	for _, p := range s.Parts {
		if p.What == "image" {
			slash := strings.LastIndexByte(p.Value, '/') + 1
			name, _, _ := strings.Cut(p.Value[slash:], ":")
			return p.Value[:slash] + name
		}
	}
	return ""
}

func (s *OutlineStep) command() string {
	var list []string
	for _, p := range s.Parts {
		if p.What == "command" || p.What == "arguments" || p.What == "action" {
			list = append(list, p.Value)
		}
	}
	return strings.Join(list, " ")
}

// shared is the part of the words of two texts that both have, from 0 to 1.
func shared(first, second []string) float64 {
	if len(first)+len(second) == 0 {
		return 0
	}
	count := map[string]int{}
	for _, w := range first {
		count[w]++
	}
	both := 0
	for _, w := range second {
		if count[w] > 0 {
			count[w]--
			both++
		}
	}
	return 2 * float64(both) / float64(len(first)+len(second))
}

// maxWords bounds the words of a text that are compared one by one.
const maxWords = 1000

// diffWords compares two texts word by word. Runs of words that stay are shortened to those beside a change.
func diffWords(before, after string) []Word {
	a, b := strings.Fields(before), strings.Fields(after)
	if len(a) > maxWords || len(b) > maxWords {
		return nil
	}
	best := make([][]int16, len(a)+1) // longest common subsequence from i and j on
	for i := range best {
		best[i] = make([]int16, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			best[i][j] = max(best[i+1][j], best[i][j+1])
			if a[i] == b[j] {
				best[i][j] = best[i+1][j+1] + 1
			}
		}
	}
	var list []Word
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			list, i, j = append(list, Word{' ', a[i]}), i+1, j+1
		case j == len(b) || i < len(a) && cmp.Compare(best[i+1][j], best[i][j+1]) >= 0:
			list, i = append(list, Word{'-', a[i]}), i+1
		default:
			list, j = append(list, Word{'+', b[j]}), j+1
		}
	}
	return shorten(joinRuns(list))
}

// joinRuns makes one word of neighbours of the same mark.
func joinRuns(list []Word) []Word {
	var out []Word
	for _, w := range list {
		if n := len(out); n > 0 && out[n-1].Mark == w.Mark {
			out[n-1].Text += " " + w.Text
		} else {
			out = append(out, w)
		}
	}
	return out
}

// besideWords is how many words that stay are shown on each side of a change.
const besideWords = 3

func shorten(list []Word) []Word {
	for i, w := range list {
		f := strings.Fields(w.Text)
		if w.Mark != ' ' || len(f) <= 2*besideWords+1 {
			continue
		}
		left, right := strings.Join(f[:besideWords], " "), strings.Join(f[len(f)-besideWords:], " ")
		switch {
		case len(list) == 1:
		case i == 0:
			list[i].Text = "… " + right
		case i == len(list)-1:
			list[i].Text = left + " …"
		default:
			list[i].Text = left + " … " + right
		}
	}
	return list
}

package notebook

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	opening = "# /// script"
	closing = "# ///"
)

// findHeader returns the lines of a cell's PEP 723 block, from first up to before end; they are equal
// when there is none.
func findHeader(lines []string) (first, end int) {
	for i, l := range lines {
		if l != opening {
			continue
		}
		// The last closing line counts, for the TOML may have such a line in a text.
		for j := i + 1; j < len(lines) && (lines[j] == "#" || strings.HasPrefix(lines[j], "# ")); j++ {
			if lines[j] == closing {
				end = j + 1
			}
		}
		if end > 0 {
			return i, end
		}
	}
	return 0, 0
}

// meantAsHeader finds a line that was to open a header.
func meantAsHeader(lines []string) bool {
	near := regexp.MustCompile(`(?i)^\s*#\s*///+\s*script\s*$`)
	for _, l := range lines {
		if strings.Contains(l, "///") && near.MatchString(l) {
			return true
		}
	}
	return false
}

// madeHeader writes the header that the pip lines stand for. Its lines stem from those of pip.
func (t *translator) madeHeader() []scriptLine {
	first := t.pip[0].at
	lines := []scriptLine{{opening, first}, {"# dependencies = [", first}}
	seen := map[string]bool{}
	for _, command := range t.pip {
		for _, r := range command.requirements {
			if !seen[r] {
				seen[r] = true
				lines = append(lines, scriptLine{"#   " + tomlText(r) + ",", command.at})
			}
		}
	}
	lines = append(lines, scriptLine{"# ]", first})
	lines = append(lines, t.madeSettings()...)
	return append(lines, scriptLine{closing, first})
}

// madeSettings writes [tool.uv] for the indexes of the pip lines.
func (t *translator) madeSettings() []scriptLine {
	var links []string
	var settings, indexes []scriptLine
	var from place
	seen := map[string]bool{}
	for _, command := range t.pip {
		if command.pre && !seen["pre"] {
			seen["pre"] = true
			settings = append(settings, scriptLine{`# prerelease = "allow"`, command.at})
		}
		for _, l := range command.links {
			links, from = append(links, tomlText(l)), command.at
		}
		for _, x := range command.indexes {
			if seen[x.url] {
				continue
			}
			seen[x.url] = true
			indexes = append(indexes, scriptLine{"#", command.at}, scriptLine{"# [[tool.uv.index]]", command.at}, scriptLine{"# url = " + tomlText(x.url), command.at})
			if x.instead {
				indexes = append(indexes, scriptLine{"# default = true", command.at})
			}
		}
	}
	if len(links) > 0 {
		settings = append(settings, scriptLine{"# find-links = [" + strings.Join(links, ", ") + "]", from})
	}
	if len(settings) > 0 {
		at := settings[0].at
		settings = append([]scriptLine{{"#", at}, {"# [tool.uv]", at}}, settings...)
	}
	return append(settings, indexes...)
}

// tomlText quotes a text without control characters.
func tomlText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// headerHint shows a header that can be pasted.
func headerHint(requirements []string) string {
	quoted := make([]string, len(requirements))
	for i, r := range requirements {
		quoted[i] = tomlText(r)
	}
	return fmt.Sprintf("begin the first code cell with these lines: %q, %q, %q", opening, "# dependencies = ["+strings.Join(quoted, ", ")+"]", closing)
}

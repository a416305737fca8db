package draft

import (
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// header is what a draft needs of a script's PEP 723 block.
type header struct {
	Dependencies []string `toml:"dependencies"`
	Tool         struct {
		Pixi map[string]any `toml:"pixi"`
	} `toml:"tool"`
}

// readHeader finds a script's block; one that is broken counts as there. Package uvscript reads it for
// real, and says what is wrong with it.
func readHeader(script []byte) (header, bool) {
	var h header
	lines := strings.Split(strings.ReplaceAll(string(script), "\r\n", "\n"), "\n")
	open, end := -1, -1
	for i, l := range lines {
		switch {
		case open < 0 && l == "# /// script":
			open = i
		case open < 0:
		case l == "# ///":
			end = i
		case l != "#" && !strings.HasPrefix(l, "# "):
			if end > 0 {
				return parseHeader(lines[open+1 : end]), true
			}
			open = -1
		}
	}
	if open >= 0 && end > 0 {
		return parseHeader(lines[open+1 : end]), true
	}
	return h, false
}

func parseHeader(lines []string) header {
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(strings.TrimPrefix(strings.TrimPrefix(l, "#"), " ") + "\n")
	}
	var h header
	if toml.Unmarshal([]byte(text.String()), &h) != nil {
		return header{}
	}
	return h
}

func (h header) pixi() bool { return h.Tool.Pixi != nil }

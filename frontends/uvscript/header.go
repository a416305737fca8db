package uvscript

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/util/suggest"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/python"
	"github.com/ibuild/ibuild/llb"
)

// header is what the script block says, as far as it matters before uv reads it.
type header struct {
	python     string     // X.Y
	pythonLine int        // of requires-python, 0 when there is none
	settings   *yaml.Node // [tool.ibuild], nil when there is none
	paths      []pathSource
}

// pathSource is a package that [tool.uv.sources] takes from a path.
type pathSource struct {
	pkg, path    string
	line, column int
}

// check goes through the header's values and collects findings.
type check struct {
	src    source.Source
	block  block
	parser *unstable.Parser
	toml   []byte
	index  index
	pixi   bool // it is pixi that installs
	errs   source.Errors
	out    header
	own    settings
	unmet  *source.Error // no supported Python meets requires-python
}

// readHeader parses and checks the embedded document, for pixi or for uv.
func readHeader(src source.Source, b block, pixi bool) (header, error) {
	c := &check{src: src, block: b, toml: b.toml(), parser: &unstable.Parser{}, pixi: pixi}
	c.index = newIndex(c.toml)
	c.out.python = llb.PythonVersions()[0]
	if err := python.CheckTOML(c.toml); err != nil {
		c.failAt(1, 1, err.Error(), "")
		return header{}, c.findings()
	}
	var all map[string]any
	if err := toml.Unmarshal(c.toml, &all); err != nil {
		c.syntax(err)
		return header{}, c.findings()
	}
	c.own.c = c
	c.walk()
	c.out.settings = c.own.root
	if _, based := c.own.values[c.own.root]["base_image"]; c.unmet != nil && !based { // which has a Python of its own
		c.errs = append(c.errs, c.unmet)
	}
	return c.out, c.findings()
}

func (c *check) findings() error {
	var shown source.Errors
	shown.Collect(c.errs.Err()) // masking costs time, and not all of many findings are shown
	credential.MaskErrors(shown)
	return shown.Err()
}

func (c *check) syntax(err error) {
	var de *toml.DecodeError
	line, column := 1, 1
	msg := err.Error()
	if errors.As(err, &de) {
		line, column = de.Position()
		msg = strings.TrimPrefix(de.Error(), "toml: ")
	}
	c.failAt(line, column, "the header is not valid TOML: "+msg, "")
}

// walk visits every value of the document with its full key.
func (c *check) walk() {
	c.parser.Reset(c.toml)
	var table []string
	for c.parser.NextExpression() {
		e := c.parser.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = keys(e.Key())
			c.table(table, firstKey(e))
			c.own.table(table, e)
		case unstable.KeyValue:
			c.keyValue(table, e)
			c.own.keyValue(table, e)
		}
	}
}

func (c *check) keyValue(table []string, e *unstable.Node) {
	path := slices.Concat(table, keys(e.Key()))
	c.value(path, firstKey(e), e.Value())
	if e.Value().Kind == unstable.InlineTable {
		c.table(path, firstKey(e))
		for it := e.Value().Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				c.keyValue(path, it.Node())
			}
		}
	}
	if e.Value().Kind == unstable.Array {
		c.array(path, e)
	}
}

// array goes on into the inline tables of an array, such as index = [{…}].
func (c *check) array(path []string, e *unstable.Node) {
	for it := e.Value().Children(); it.Next(); {
		if it.Node().Kind != unstable.InlineTable {
			continue
		}
		for in := it.Node().Children(); in.Next(); {
			if in.Node().Kind == unstable.KeyValue {
				c.keyValue(path, in.Node())
			}
		}
	}
}

func keys(it unstable.Iterator) []string {
	var out []string
	for it.Next() {
		out = append(out, string(it.Node().Data))
	}
	return out
}

func firstKey(e *unstable.Node) *unstable.Node {
	it := e.Key()
	it.Next()
	return it.Node()
}

// table refuses pixi's tables where pixi is not used: without them the image would not be what the script
// asks for.
func (c *check) table(path []string, key *unstable.Node) {
	if len(path) < 2 || path[0] != "tool" {
		return
	}
	if path[1] == "pixi" && c.pixi {
		c.pixiTable(path[2:], key)
		return
	}
	if path[1] == "pixi" {
		c.failNode(key, 0, "[tool.pixi] is for pixi, and this script is installed by uv", "name it as pixi_script in an image spec, or remove the table")
	}
}

// value checks one value.
func (c *check) value(path []string, key, v *unstable.Node) {
	c.passwords(v)
	c.pixiPath(path, key)
	switch name := strings.Join(path, "."); {
	case name == "requires-python":
		c.requiresPython(key, v)
	case name == "dependencies":
		c.requirements(key, v, "dependencies")
	case len(path) == 1 && name != "tool":
		// The PEP keeps other keys for itself and uv passes over them; a typing error would be one of them.
		plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if near, ok := nearKey(plain); ok {
			c.failNode(key, 0, fmt.Sprintf("unknown key %q", name), fmt.Sprintf("did you mean %q?", near))
		}
	case len(path) >= 4 && strings.HasPrefix(name, "tool.uv.sources."):
		c.sourceKey(path[3], path[len(path)-1], key, v)
	case strings.HasPrefix(name, "tool.uv.") && (path[len(path)-1] == "find-links" || name == "tool.uv.index.url" ||
		name == "tool.uv.index-url" || name == "tool.uv.extra-index-url"):
		c.localIndex(path[len(path)-1], v)
	}
}

// nearKey is the key of a header that another one was probably meant to be.
func nearKey(name string) (string, bool) {
	known := []string{"requires-python", "dependencies", "tool"}
	if slices.Contains(known, name) {
		return name, true
	}
	return suggest.Search(name, known, true)
}

func (c *check) requiresPython(key, v *unstable.Node) {
	if v.Kind != unstable.String {
		c.failNode(key, 0, "requires-python must be a text", `write requires-python = ">=3.11"`)
		return
	}
	line, _ := c.place(key, 0)
	c.out.pythonLine = line
	text := string(v.Data)
	s, err := python.ParseSpecifier(text)
	if err != nil {
		c.failNode(v, 0, "requires-python: "+err.Error(), `write e.g. ">=3.11" or ">=3.11,<3.13"`)
		return
	}
	supported := llb.PythonVersions()
	minor, ok := s.Newest(supported)
	if !ok && c.pixi {
		return // which has Pythons of its own
	}
	if !ok {
		c.unmet = c.finding(v, 0, fmt.Sprintf("no supported Python meets requires-python = %q", text),
			"supported are the newest patch releases of "+strings.Join(supported, ", "))
		return
	}
	c.out.python = minor
}

func (c *check) requirements(key, v *unstable.Node, name string) {
	if v.Kind != unstable.Array {
		c.failNode(key, 0, name+" must be a list of texts", `write e.g. ["numpy>=2"]`)
		return
	}
	for it := v.Children(); it.Next(); {
		n := it.Node()
		switch {
		case n.Kind == unstable.Comment:
		case n.Kind != unstable.String:
			c.failNode(key, 0, name+" must be a list of texts", `write e.g. ["numpy>=2"]`)
		default:
			c.requirement(n)
		}
	}
}

func (c *check) requirement(n *unstable.Node) {
	text := string(n.Data)
	if credential.InURL(text) {
		return // has its finding already
	}
	if python.IsLocal(text) {
		c.failNode(n, 0, fmt.Sprintf("%q is a path on this machine", text), "name the package alone, and its path, relative to the script, in [tool.uv.sources]")
		return
	}
	_, err := python.ParseRequirement(text)
	var se *python.SyntaxError
	if !errors.As(err, &se) {
		return
	}
	offset := 0
	if raw := c.parser.Raw(n.Raw); len(raw) == len(text)+2 {
		offset = se.Offset + 1 // a plain text: the quote, then the same bytes
	}
	c.failNode(n, offset, fmt.Sprintf("%q is not a requirement: %s", text, se.Msg), "write e.g. numpy>=2 (PEP 508)")
}

// sourceKey looks at what [tool.uv.sources] says of one package.
func (c *check) sourceKey(pkg, name string, key, v *unstable.Node) {
	text := string(v.Data)
	switch {
	case name == "workspace":
		c.failNode(key, 0, fmt.Sprintf("the source of %s is a workspace, which a script has none of", pkg), "name it by path, git or url")
	case name == "path" && v.Kind == unstable.String:
		line, column := c.place(v, 0)
		c.out.paths = append(c.out.paths, pathSource{pkg: pkg, path: text, line: line, column: column})
	case (name == "url" || name == "git") && v.Kind == unstable.String && (strings.HasPrefix(text, "file:") || !strings.Contains(text, "://") && name == "url"):
		c.failNode(v, 0, fmt.Sprintf("the source of %s is a file URL, which leads to another place in every build", pkg), "name it by path, relative to the script, or by a https URL")
	}
}

// localIndex refuses indexes that are folders of this machine.
func (c *check) localIndex(name string, v *unstable.Node) {
	look := func(n *unstable.Node) {
		text := string(n.Data)
		if n.Kind == unstable.String && (strings.HasPrefix(text, "file:") || !strings.Contains(text, "://")) {
			c.failNode(n, 0, fmt.Sprintf("%s: the folder %q is on this machine, and not in the build", name, text), "name an index by its URL, or a package by its path in [tool.uv.sources]")
		}
	}
	look(v)
	if v.Kind == unstable.Array {
		for it := v.Children(); it.Next(); {
			look(it.Node())
		}
	}
}

// passwords refuses URLs with a password: the header becomes a part of the build's definition.
func (c *check) passwords(v *unstable.Node) {
	look := func(n *unstable.Node) {
		if n.Kind == unstable.String && credential.InURL(string(n.Data)) {
			c.failNode(n, 0, "a URL has a password in it, which would end up in the image's cache and history",
				"give the index a name and its password as a secret, or use a .netrc file")
		}
	}
	look(v)
	if v.Kind == unstable.Array {
		for it := v.Children(); it.Next(); {
			look(it.Node())
		}
	}
}

// place is where a node is in the script, offset bytes after its beginning.
func (c *check) place(n *unstable.Node, offset int) (line, column int) {
	at, characters := c.index.position(int(n.Raw.Offset) + offset)
	text := at + 1 // the opening line is not in the document
	if text >= len(c.block.lines)-1 {
		return c.block.last, 1
	}
	return c.block.first + text, prefix(c.block.lines[text]) + characters + 1
}

func (c *check) failNode(n *unstable.Node, offset int, msg, hint string) {
	c.errs = append(c.errs, c.finding(n, offset, msg, hint))
}

func (c *check) finding(n *unstable.Node, offset int, msg, hint string) *source.Error {
	line, column := c.place(n, offset)
	return &source.Error{File: c.src.Name, Line: line, Column: column, Msg: msg, Hint: hint, Data: c.src.Data}
}

// failAt takes a position in the embedded document.
func (c *check) failAt(line, column int, msg, hint string) {
	line, column = c.block.place(line, column)
	c.errs = append(c.errs, &source.Error{File: c.src.Name, Line: line, Column: column, Msg: msg, Hint: hint, Data: c.src.Data})
}

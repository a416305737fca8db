package imports

import (
	"strings"

	"github.com/ibuild/ibuild/frontends/pysource"
)

// statement is one import as a file writes it.
type statement struct {
	line   int
	level  int      // dots before the name
	module string   // "" after dots alone
	names  []string // after "import" in a from statement; "*" for all
	from   bool     // it is a from statement, or means the same
	// optional says that nothing is wrong when the module is not there.
	optional bool
}

// module is what matters of a Python file.
type module struct {
	statements []statement
	all        []string // names in __all__
	notes      []Note   // without their file
}

// fileReader goes through the logical lines of a file.
type fileReader struct {
	s       *pysource.Scanner
	tokens  []pysource.Token
	line    int
	dynamic map[string]bool // names that import_module and __import__ have here
	out     module
}

// read finds the imports in the text of a Python file.
func read(text string) module {
	r := &fileReader{s: pysource.New(text), dynamic: map[string]bool{"import_module": true, "__import__": true}}
	for {
		line, ok := r.s.Next()
		if !ok {
			return r.out
		}
		r.tokens, r.line = line.Tokens, line.First
		r.logicalLine()
	}
}

// word is the text of a token, "" beyond the last one.
func (r *fileReader) word(i int) string {
	if i < 0 || i >= len(r.tokens) {
		return ""
	}
	return r.s.Text(r.tokens[i])
}

// logicalLine looks at all statements of a line.
func (r *fileReader) logicalLine() {
	if r.word(0) == "__all__" {
		for _, t := range r.tokens {
			if name, ok := r.literal(t); ok {
				r.out.all = append(r.out.all, name)
			}
		}
	}
	for i, t := range r.tokens {
		if t.Kind != pysource.Name {
			continue
		}
		// A statement begins the line, or follows a semicolon or the colon of "if x:".
		begins := i == 0 || r.word(i-1) == ";" || r.word(i-1) == ":"
		switch w := r.word(i); {
		case w == "import" && begins:
			r.importStatement(i + 1)
		case w == "from" && begins:
			r.fromStatement(i + 1)
		case r.dynamic[w] && r.word(i+1) == "(" && r.word(i-1) != "def":
			r.dynamicImport(i)
		default:
			r.unseen(i)
		}
	}
}

// importStatement reads "a.b as c, d".
func (r *fileReader) importStatement(i int) {
	for {
		name, next := r.dotted(i)
		if name == "" {
			return
		}
		r.out.statements = append(r.out.statements, statement{line: r.line, module: name})
		if r.word(next) == "as" {
			next += 2
		}
		if r.word(next) != "," {
			return
		}
		i = next + 1
	}
}

// fromStatement reads "..a.b import (c as d, e)".
func (r *fileReader) fromStatement(i int) {
	st := statement{line: r.line, from: true}
	for ; strings.Trim(r.word(i), ".") == "" && r.word(i) != ""; i++ {
		st.level += len(r.word(i))
	}
	if r.word(i) != "import" {
		st.module, i = r.dotted(i)
	}
	if r.word(i) != "import" || st.module == "" && st.level == 0 {
		return
	}
	for i++; i < len(r.tokens) && r.word(i) != ";"; i++ {
		w := r.word(i)
		switch {
		case w == "as":
			i++
			if st.module == "importlib" && r.dynamic[r.word(i-2)] {
				r.dynamic[r.word(i)] = true
			}
		case w == "*" || r.tokens[i].Kind == pysource.Name:
			st.names = append(st.names, w)
		}
	}
	r.out.statements = append(r.out.statements, st)
}

// dotted reads "a.b.c" and returns where it ends.
func (r *fileReader) dotted(i int) (string, int) {
	var parts []string
	for i < len(r.tokens) && r.tokens[i].Kind == pysource.Name {
		parts = append(parts, r.word(i))
		i++
		if r.word(i) != "." {
			break
		}
		i++
	}
	return strings.Join(parts, "."), i
}

// dynamicImport reads import_module("name") and __import__("name").
func (r *fileReader) dynamicImport(i int) {
	function := r.word(i)
	name, ok := "", false
	if i+2 < len(r.tokens) {
		name, ok = r.literal(r.tokens[i+2])
	}
	end := r.word(i + 3)
	if !ok || end != ")" && end != "," {
		r.note(function + " with a name that is known only when the program runs")
		return
	}
	plain := strings.TrimLeft(name, ".")
	st := statement{line: r.line, level: len(name) - len(plain), module: plain, optional: true}
	if st.level == 0 {
		r.out.statements = append(r.out.statements, st)
		return
	}
	// import_module(".name", package): the package is mostly the file's own.
	i += 4
	if r.word(i) == "package" && r.word(i+1) == "=" {
		i += 2
	}
	switch w := r.word(i); {
	case w == "__package__" || w == "__name__":
		st.from = true
		r.out.statements = append(r.out.statements, st)
	case i < len(r.tokens):
		anchor, ok := r.literal(r.tokens[i])
		parts := strings.Split(anchor, ".")
		if !ok || st.level > len(parts) {
			r.note(function + " with a package that is known only when the program runs")
			return
		}
		parts = append(parts[:len(parts)-st.level+1], plain)
		r.out.statements = append(r.out.statements, statement{line: r.line, module: strings.Join(parts, "."), optional: true})
	}
}

// unseen notes what may import something that cannot be seen here.
func (r *fileReader) unseen(i int) {
	called := r.word(i+1) == "("
	switch w := r.word(i); {
	case w == "sys" && r.word(i+1) == "." && r.word(i+2) == "path" && r.changes(i+3):
		r.note("sys.path is changed; if that is a folder of this source, name it as a root")
	case called && (w == "exec" || w == "execfile") && r.word(i-1) != "." && r.word(i-1) != "def":
		r.note("exec may import modules that are not seen here")
	case called && (w == "addsitedir" || w == "spec_from_file_location" || w == "SourceFileLoader" || w == "run_path" || w == "run_module"):
		r.note(w + " may load modules that are not seen here")
	}
}

// changes says whether what follows sys.path changes it.
func (r *fileReader) changes(i int) bool {
	switch r.word(i) {
	case "=", "+=", "[":
		return true
	case ".":
		switch r.word(i + 1) {
		case "append", "insert", "extend", "remove", "pop", "clear":
			return true
		}
	}
	return false
}

// literal is the value of a text without escapes.
func (r *fileReader) literal(t pysource.Token) (string, bool) {
	text := r.s.Text(t)
	if t.Kind != pysource.String || strings.Contains(text, `\`) {
		return "", false
	}
	text = strings.TrimLeft(text, "uUrR")
	for _, quote := range []string{`"""`, `'''`, `"`, `'`} {
		if inner, ok := strings.CutPrefix(text, quote); ok {
			return strings.TrimSuffix(inner, quote), true
		}
	}
	return "", false // bytes
}

func (r *fileReader) note(msg string) {
	r.out.notes = append(r.out.notes, Note{Line: r.line, Msg: msg})
}

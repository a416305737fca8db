package notebook

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/shlex"

	"github.com/ibuild/ibuild/frontends/pysource"
	"github.com/ibuild/ibuild/frontends/source"
)

// skipHint is the way out for what cannot be in a script.
const skipHint = "give the cell the tag " + skipTag

// cellMagics handles the %% lines that a cell begins with. It returns the line where the code begins,
// and false when no code is left to look at.
func (t *translator) cellMagics(c *cell) (from int, ok bool) {
	for from < len(c.lines) {
		text := c.lines[from]
		if strings.TrimSpace(text) == "" {
			from++
			continue
		}
		if !strings.HasPrefix(text, "%%") {
			return from, true
		}
		name, args, _ := strings.Cut(text[2:], " ")
		if args = strings.TrimSpace(args); !t.cellMagic(c, from, name, args) {
			return from, false
		}
		from++
	}
	return from, false
}

// cellMagic handles one, and says whether the lines below it are code of the script.
func (t *translator) cellMagic(c *cell, line int, name, args string) bool {
	fail := func(msg, hint string) bool {
		t.errs = append(t.errs, &source.Error{File: c.file, Line: line + 1, Column: 1 + c.shift[line], Msg: msg, Hint: hint, Data: []byte(c.text)})
		return false
	}
	switch name {
	case "time":
		if args != "" {
			return fail("%%time has a statement in its line", "put it below")
		}
	case "capture":
		for _, a := range strings.Fields(args) {
			if !strings.HasPrefix(a, "-") {
				return fail("%%capture keeps the cell's output in "+a+", which works in a notebook only", "use contextlib.redirect_stdout, or capture nothing")
			}
		}
	case "timeit":
		c.comment(line, len(c.lines)-1)
		return false
	case "writefile", "file":
		code, why := writeFile(c.lines[line+1:], args)
		if why != "" {
			return fail("%%"+name+": "+why, "write the file with Python code")
		}
		copy(c.out[line:], code)
		return false
	default:
		what, hint := cellMagicHint(name)
		return fail(fmt.Sprintf("%%%%%s %s", name, what), hint)
	}
	c.comment(line, line)
	return true
}

// cellMagicHint says what a cell magic is and what to do instead.
func cellMagicHint(name string) (what, hint string) {
	switch name {
	case "bash", "sh", "script", "cmd", "system", "sx", "!":
		return "runs shell commands, which works in a notebook only", "call subprocess.run, or " + skipHint
	case "html", "HTML", "javascript", "js", "svg", "SVG", "latex", "markdown":
		return "shows something in a notebook only", "make it a Markdown cell, or " + skipHint
	case "python", "python2", "python3", "pypy", "perl", "ruby":
		return "runs another program, which works in a notebook only", "call subprocess.run, or " + skipHint
	}
	return "is a magic, which works in a notebook only", "write it in Python, or " + skipHint
}

// writeFile is the code that writes lines to the file that args name, as many lines as there were, and
// why there is none.
func writeFile(lines []string, args string) (code []string, why string) {
	words, err := shlex.Split(args)
	if err != nil {
		return nil, "the name of the file has a quote that is not closed"
	}
	mode := "w"
	if len(words) > 0 && (words[0] == "-a" || words[0] == "--append") {
		mode, words = "a", words[1:]
	}
	if len(words) != 1 || strings.HasPrefix(words[0], "-") {
		return nil, "the name of one file must follow"
	}
	if strings.ContainsAny(words[0], "{$") {
		return nil, "the name of the file is known in a notebook only"
	}
	code = append(code, fmt.Sprintf("with open(%s, %q, encoding=\"utf-8\") as _file: _file.write(", pythonPath(words[0]), mode))
	for _, l := range lines {
		code = append(code, "    "+strconv.Quote(l+"\n"))
	}
	if len(lines) == 0 {
		code[0] += `""`
	}
	code[len(code)-1] += ")"
	return code, ""
}

// pythonPath is the expression for a path that may begin with ~. Go's quoted texts are Python's too.
func pythonPath(path string) string {
	if strings.HasPrefix(path, "~") {
		return `__import__("os").path.expanduser(` + strconv.Quote(path) + ")"
	}
	return strconv.Quote(path)
}

// escape handles a statement that ends with a magic, a command or a question.
func (t *translator) escape(s statement) {
	token := s.Tokens[len(s.Tokens)-1]
	text := strings.ReplaceAll(s.word(len(s.Tokens)-1), "\\\n", " ")
	assigned := len(s.Tokens) > 1
	name, args, _ := strings.Cut(strings.TrimSpace(strings.TrimLeft(text, "%")), " ")
	args = strings.TrimSpace(args)
	command, isPip := pipLine(text)
	switch {
	case strings.HasPrefix(text, "?") || strings.HasSuffix(strings.TrimSpace(text), "?") && text[0] == '%':
		t.fail(s, token.Start, "help (?) is shown in a notebook only", "remove the line")
	case strings.HasPrefix(text, "%%"):
		t.fail(s, token.Start, fmt.Sprintf("%%%%%s is not in the first line of its cell", name), "move it there")
	case isPip && !assigned:
		t.pipCommand(s, token.Start, text, command)
	case text[0] == '!':
		t.fail(s, token.Start, "a shell command (!) works in a notebook only", shellHint(text))
	case text[0] == '%' && name == "time" && args != "":
		line, _ := s.position(token.Start)
		s.cell.replace(line-1, s.last(), s.before(token.Start)+args)
		if hasMagic(strings.Join(s.cell.out[s.first():s.last()+1], "\n")) {
			t.fail(s, token.Start, "%time before another magic works in a notebook only", skipHint)
		}
	case text[0] != '%':
		t.fail(s, token.Start, fmt.Sprintf("a line that begins with %q is a call in a notebook only", text[:1]), "write the call with parentheses")
	case assigned:
		t.fail(s, token.Start, fmt.Sprintf("%%%s is a magic, which works in a notebook only", name), lineMagicHint(name))
	default:
		t.lineMagic(s, token.Start, name, args)
	}
}

// hasMagic says whether code has lines in it that only IPython understands.
func hasMagic(code string) bool {
	scanner := pysource.NewCell(code)
	for {
		line, ok := scanner.Next()
		if !ok {
			return false
		}
		if slices.ContainsFunc(line.Tokens, func(t pysource.Token) bool { return t.Kind == pysource.Escape }) {
			return true
		}
	}
}

func shellHint(text string) string {
	for _, manager := range []string{"apt-get ", "apt ", "conda ", "mamba ", "micromamba "} {
		if strings.Contains(text, manager) {
			return "list the packages in an image spec, or " + skipHint
		}
	}
	return "call subprocess.run, or " + skipHint
}

// lineMagic handles %name args where it is a statement of its own.
func (t *translator) lineMagic(s statement, start int, name, args string) {
	c, first, last := s.cell, s.first(), s.last()
	white := s.before(start)
	switch {
	case (name == "env" || name == "set_env") && strings.ContainsAny(args, " ="):
		code, why := setEnv(args)
		if why != "" {
			t.fail(s, start, "%"+name+": "+why, `write os.environ["NAME"] = … instead`)
			return
		}
		c.replace(first, last, white+code)
	case name == "cd":
		words, err := shlex.Split(args)
		if err != nil || len(words) != 1 || strings.HasPrefix(words[0], "-") || strings.ContainsAny(words[0], "{$") {
			t.fail(s, start, "%cd must name one folder that is known before the notebook runs", "write os.chdir(…) instead")
			return
		}
		c.replace(first, last, white+`__import__("os").chdir(`+pythonPath(words[0])+")")
	case harmless(name):
		c.comment(first, last)
	default:
		t.fail(s, start, fmt.Sprintf("%%%s is a magic, which works in a notebook only", name), lineMagicHint(name))
	}
}

// harmless says whether a magic only shows or sets something of the notebook itself, or measures.
func harmless(name string) bool {
	switch name {
	case "matplotlib", "config", "load_ext", "reload_ext", "unload_ext", "autoreload", "aimport", "time", "timeit", // code
		"env", "pwd", "ls", "ll", "who", "whos", "who_ls", "lsmagic", "history", "hist", "tb", "magic", "quickref", // what is shown
		"precision", "pprint", "xmode", "colors", "pdb", "autosave", "automagic", "autoawait", "autocall", "doctest_mode", "clear", "cls": // settings
		return true
	}
	return false
}

func lineMagicHint(name string) string {
	switch name {
	case "run":
		return "import the script, or call runpy.run_path"
	case "store":
		return "write the value to a file"
	case "pylab":
		return "import numpy and matplotlib by name"
	case "conda", "mamba", "micromamba":
		return "list the packages in an image spec, or in the header if they are on PyPI"
	case "env", "set_env":
		return "use os.environ"
	}
	return "write it in Python, or " + skipHint
}

// setEnv is the code for %env NAME=value or %env NAME value, and why there is none. Quotes are part of
// the value, as for IPython.
func setEnv(args string) (code, why string) {
	separator := " "
	if strings.Contains(args, "=") {
		separator = "="
	}
	name, value, _ := strings.Cut(args, separator)
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch {
	case name == "" || strings.ContainsAny(name, " \t"):
		return "", "the name of the variable has spaces or is missing"
	case strings.ContainsAny(args, "{$"):
		return "", "the value is known in a notebook only"
	}
	return fmt.Sprintf(`__import__("os").environ[%s] = %s`, strconv.Quote(name), strconv.Quote(value)), ""
}

package draft

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/pysource"
	"github.com/ibuild/ibuild/frontends/source"
)

// code is a file or folder with the user's own Python code.
type code struct {
	src    string
	dst    string // "" keeps its name in the workdir
	folder bool
}

const (
	maxCode    = 12  // that are listed; more become the whole folder
	maxScanned = 200 // files whose imports are read
)

// identifier says whether python -m can take a folder's name.
func identifier(name string) bool {
	digit := name != "" && name[0] >= '0' && name[0] <= '9'
	return name != "" && !digit && !strings.ContainsAny(name, "-.+@ ") // of the characters that plainName lets through
}

// findCode lists what holds Python code: files at the top, and folders.
func (s *search) findCode() {
	for _, e := range s.top {
		name := e.Name()
		info, err := fs.Stat(s.fsys, name)
		switch {
		case err != nil || strings.HasPrefix(name, "."):
		case info.IsDir():
			s.codeFolder(name)
		case info.Mode().IsRegular() && strings.HasSuffix(name, ".py") && !beside(name):
			if _, ok := readHeader(s.scan(name)); !ok {
				s.addCode(code{src: name})
			}
		}
	}
	if len(s.folder.code) > maxCode {
		s.folder.code = []code{{src: ".", folder: true}}
	}
}

// codeFolder adds a folder with Python files, or those in src.
func (s *search) codeFolder(name string) {
	if slices.Contains([]string{"static", "templates", "assets", "public", "config", "configs", "conf", "prompts", "locale"}, name) {
		s.folder.other = append(s.folder.other, name)
		return
	}
	if slices.Contains([]string{
		"tests", "test", "testing", "docs", "doc", "examples", "example", "notebooks", "build", "dist", "venv", "env", "virtualenv",
		"node_modules", "site-packages", "__pycache__", "requirements", "data", "datasets", "benchmarks", "wandb", "mlruns",
	}, name) {
		return
	}
	if s.holdsCode(name) {
		s.addCode(code{src: name, folder: true})
		return
	}
	if name != "src" {
		return
	}
	list, err := readDir(s.fsys, name)
	if err != nil {
		return
	}
	for _, e := range list {
		sub := path.Join(name, e.Name())
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "__pycache__" && s.holdsCode(sub) {
			s.addCode(code{src: sub, folder: true})
		}
	}
}

// holdsCode says whether a folder has Python files of its own, and reads what they import.
func (s *search) holdsCode(dir string) bool {
	info, err := fs.Stat(s.fsys, dir)
	if err != nil || !info.IsDir() {
		return false
	}
	list, err := readDir(s.fsys, dir)
	if err != nil {
		return false
	}
	found := false
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".py") && e.Type().IsRegular() {
			found = true
			s.scan(path.Join(dir, e.Name()))
		}
	}
	return found
}

// addCode keeps the names of two things apart that would become one path in the image.
func (s *search) addCode(c code) {
	taken := slices.ContainsFunc(s.folder.code, func(o code) bool { return path.Base(o.src) == path.Base(c.src) })
	if taken {
		c.dst = c.src
	}
	s.folder.code = append(s.folder.code, c)
}

// beside says whether a file at the top is there for developers' tools, not for the image.
func beside(name string) bool {
	return slices.Contains([]string{"setup.py", "conftest.py", "noxfile.py", "tasks.py", "fabfile.py", "dodo.py", "versioneer.py"}, name) ||
		strings.HasPrefix(name, "test_") || strings.HasSuffix(name, "_test.py")
}

// scan reads a Python file and notes which modules it imports.
func (s *search) scan(name string) []byte {
	data := s.read(name, source.ScriptLimit)
	if s.scanned++; s.scanned > maxScanned {
		return data
	}
	s.folder.imports = append(s.folder.imports, imported(string(data))...)
	slices.Sort(s.folder.imports)
	s.folder.imports = slices.Compact(s.folder.imports)
	return data
}

// imported are the top-level modules of a text's import statements.
func imported(text string) []string {
	var out []string
	sc := pysource.New(text)
	for line, ok := sc.Next(); ok; line, ok = sc.Next() {
		begin := true // of a statement
		for i := 0; i < len(line.Tokens); i++ {
			word := sc.Text(line.Tokens[i])
			if begin && i+1 < len(line.Tokens) && (word == "import" || word == "from") {
				name := line.Tokens[i+1]
				if name.Kind == pysource.Name {
					out = append(out, sc.Text(name))
				}
			}
			begin = word == ";" || word == ":"
			if word == "," && sc.Text(line.Tokens[0]) == "import" && i+1 < len(line.Tokens) && line.Tokens[i+1].Kind == pysource.Name {
				out = append(out, sc.Text(line.Tokens[i+1]))
			}
		}
	}
	return out
}

// findEntries guesses what the image runs, the likeliest first.
func (s *search) findEntries() {
	names := []string{"main.py", "app.py", "train.py", "serve.py", "server.py", "run.py", "__main__.py"}
	for _, dir := range []string{"", "src"} {
		for _, n := range names {
			name := path.Join(dir, n)
			if s.copied(name) {
				s.folder.Entries = append(s.folder.Entries, Entry{Args: []string{"python", name}, Why: name + " looks like what is run."})
			}
		}
	}
	for _, c := range s.folder.code {
		if main := path.Join(c.src, "__main__.py"); c.folder && c.dst == "" && identifier(path.Base(c.src)) && s.isFile(main) {
			s.folder.Entries = append(s.folder.Entries, Entry{Args: []string{"python", "-m", path.Base(c.src)}, Why: main + " is there to be run."})
		}
	}
	if len(s.folder.Entries) == 0 && s.folder.lone() != "" {
		name := s.folder.lone()
		s.folder.Entries = append(s.folder.Entries, Entry{Args: []string{"python", name}, Why: name + " is the only script."})
	}
	s.folder.Entries = append(s.folder.Entries, s.scripts...)
}

// copied says whether a file is part of the code that the draft brings into the image, at the same path.
func (s *search) copied(name string) bool {
	return s.isFile(name) && slices.ContainsFunc(s.folder.code, func(c code) bool {
		return c.dst == "" && (c.src == name || c.folder && (c.src == "." || c.src == path.Dir(name)))
	})
}

// lone is the only file of the code, "" when there is more or less than one.
func (f Folder) lone() string {
	if len(f.code) != 1 || f.code[0].folder {
		return ""
	}
	return f.code[0].src
}

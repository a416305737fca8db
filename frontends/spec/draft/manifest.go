package draft

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/python"
)

// pyproject is what a draft needs of a pyproject.toml. Values of tool tables are read loosely: their tools
// check them.
type pyproject struct {
	Project struct {
		Name           string            `toml:"name"`
		RequiresPython string            `toml:"requires-python"`
		Dependencies   []string          `toml:"dependencies"`
		Scripts        map[string]string `toml:"scripts"`
	} `toml:"project"`
	BuildSystem map[string]any `toml:"build-system"`
	Tool        struct {
		Poetry map[string]any `toml:"poetry"`
		Pixi   map[string]any `toml:"pixi"`
	} `toml:"tool"`
}

func (s *search) readProject() {
	data := s.read("pyproject.toml", source.SpecLimit)
	if data == nil {
		return
	}
	if err := toml.Unmarshal(data, &s.project); err != nil {
		s.note("pyproject.toml is not valid TOML and was passed over.")
		s.project = pyproject{}
		return
	}
	p := s.project
	s.listed, s.folder.poetry = p.Project.Name != "" || len(p.Project.Dependencies) > 0, p.Tool.Poetry != nil
	name, _ := p.Tool.Poetry["name"].(string)
	if name = ImageName(cmp.Or(p.Project.Name, name)); name != "" {
		s.folder.Name = Fact{Value: name, Why: "from pyproject.toml"}
	}
	s.pythons = append(s.pythons, claim{text: p.Project.RequiresPython, why: "from requires-python in pyproject.toml"})
	dependencies, _ := p.Tool.Poetry["dependencies"].(map[string]any)
	if v, ok := dependencies["python"].(string); ok {
		s.pythons = append(s.pythons, claim{text: v, why: "from [tool.poetry.dependencies] in pyproject.toml", poetry: true})
	}
	names := slices.Sorted(maps.Keys(p.Project.Scripts))
	if scripts, ok := p.Tool.Poetry["scripts"].(map[string]any); ok {
		names = append(names, slices.Sorted(maps.Keys(scripts))...)
	}
	for _, n := range names {
		if plainName(n) {
			s.scripts = append(s.scripts, Entry{Args: []string{n}, installed: true,
				Why: "pyproject.toml has the script " + n + ", which comes with the project itself."})
		}
	}
}

// ImageName makes an image's name of any text: lower case, with dashes for what a name cannot have. It is ""
// when nothing is left.
func ImageName(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 100 {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}

// findProjects adds what a lock file or an environment file pins, the best one first.
func (s *search) findProjects() {
	if s.isFile("uv.lock") {
		s.addLocked(From{Kind: UVProject, File: "uv.lock"}, "pyproject.toml")
	}
	if s.isFile("poetry.lock") {
		s.addLocked(From{Kind: PoetryProject, File: "poetry.lock"}, "pyproject.toml")
	}
	switch {
	case s.isFile("pixi.toml"):
		s.addLocked(From{Kind: PixiProject, File: "pixi.toml"}, "pixi.toml")
	case s.project.Tool.Pixi != nil:
		s.addLocked(From{Kind: PixiProject, File: "pyproject.toml"}, "pyproject.toml")
	case s.isFile("pixi.lock"):
		s.note("pixi.lock is there without its pixi.toml and was passed over.")
	}
	if name := s.firstFile("environment.yml", "environment.yaml"); name != "" {
		s.folder.From = append(s.folder.From, s.environment(name))
	}
}

func (s *search) addLocked(f From, manifest string) {
	if !s.isFile(manifest) {
		s.note("%s is there without its %s and was passed over.", f.File, manifest)
		return
	}
	if f.Kind != PixiProject { // pixi's packages bring their own libraries
		s.readLock(&f)
	} else if !s.isFile("pixi.lock") {
		s.note("There is no pixi.lock: `pixi lock` writes it.")
	}
	s.folder.From = append(s.folder.From, f)
}

// readLock notes the packages of a uv.lock or poetry.lock.
func (s *search) readLock(f *From) {
	var lock struct {
		Package []struct {
			Name    string         `toml:"name"`
			Version string         `toml:"version"`
			Source  map[string]any `toml:"source"`
		} `toml:"package"`
	}
	if err := toml.Unmarshal(s.read(f.File, source.LockLimit), &lock); err != nil {
		s.note("%s is not valid TOML; which packages it has is not known.", f.File)
		return
	}
	for _, p := range lock.Package {
		if p.Version != "" {
			p.Name += "==" + p.Version
		}
		f.add(p.Name)
		_, uv := p.Source["git"]
		f.git = f.git || uv || p.Source["type"] == "git"
	}
}

// environment reads an environment.yml. Only what pip installs can lack libraries: conda's packages bring
// theirs.
func (s *search) environment(name string) From {
	var env struct {
		Name         string `yaml:"name"`
		Dependencies []any  `yaml:"dependencies"`
	}
	from := From{Kind: Conda, File: name}
	if err := yaml.Unmarshal(s.read(name, source.SpecLimit), &env); err != nil {
		s.note("%s is not a conda environment that can be read.", name)
		return from
	}
	for _, d := range env.Dependencies {
		switch d := d.(type) {
		case string:
			d = d[strings.LastIndex(d, ":")+1:]
			if v, ok := strings.CutPrefix(d, "python"); ok && strings.Trim(v, "=<>~! ") != v && len(s.pythons) < maxClaims {
				s.pythons = append(s.pythons, claim{text: strings.TrimLeft(v, " "), why: "from " + name, conda: true})
			}
		case map[string]any:
			list, _ := d["pip"].([]any)
			for _, item := range list {
				if text, ok := item.(string); ok {
					from.add(text)
				}
			}
		}
	}
	if n := ImageName(env.Name); n != "" && s.folder.Name.Value == "" {
		s.folder.Name = Fact{Value: n, Why: "from " + name}
	}
	return from
}

// add notes the package of a requirement.
func (f *From) add(text string) {
	r, err := python.ParseRequirement(text)
	if err != nil {
		return
	}
	name := python.NormalName(r.Name)
	f.packages = append(f.packages, name)
	if len(frameworks([]string{name})) > 0 {
		f.pins = append(f.pins, text)
	}
	f.git = f.git || strings.HasPrefix(r.URL, "git+")
}

// findRequirements adds requirements files: the main one as what the image is made from, those of
// developers as names only.
func (s *search) findRequirements() {
	var names []string
	for _, e := range s.top {
		if n := e.Name(); strings.HasPrefix(n, "requirements") {
			names = append(names, n)
		}
	}
	if list, err := readDir(s.fsys, "requirements"); err == nil {
		for _, e := range list {
			names = append(names, path.Join("requirements", e.Name()))
		}
	}
	var main []string
	for _, n := range names {
		ext := path.Ext(n)
		switch {
		case ext != ".txt" && ext != ".in" || !s.isFile(n):
		case ext == ".in" && s.isFile(strings.TrimSuffix(n, ext)+".txt"):
			s.note("%s was passed over: %s.txt beside it is what it was compiled to.", n, strings.TrimSuffix(n, ext))
		case forDevelopers(n):
			s.folder.dev = append(s.folder.dev, n)
		default:
			main = append(main, n)
		}
	}
	slices.SortStableFunc(main, func(a, b string) int { return rank(a) - rank(b) })
	for _, n := range main {
		from := From{Kind: Requirements, File: n}
		for line := range strings.Lines(string(s.read(n, source.SpecLimit))) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
			line, _, _ = strings.Cut(line, " --hash")
			from.add(strings.TrimSuffix(strings.TrimSpace(line), "\\"))
			from.git = from.git || strings.HasPrefix(line, "git+") || strings.HasPrefix(line, "-e git+")
		}
		s.folder.From = append(s.folder.From, from)
	}
}

// rank orders requirements files by how likely they are the ones of the image.
func rank(name string) int {
	stem := strings.TrimSuffix(path.Base(name), path.Ext(name))
	i := slices.Index([]string{"requirements", "requirements-prod", "prod", "production", "requirements-base", "base", "main"}, stem)
	if i < 0 {
		return 100
	}
	return i
}

// forDevelopers says whether a requirements file's name is that of one for tests, linters and the like.
func forDevelopers(name string) bool {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return strings.ContainsRune("-_./", r) })
	return slices.ContainsFunc(words, func(w string) bool {
		return slices.Contains([]string{"dev", "develop", "development", "test", "tests", "testing", "lint", "doc", "docs", "ci", "build", "local"}, w)
	})
}

// plainProject is a pyproject.toml without a lock: the requirements that it lists.
func (s *search) plainProject() From {
	from := From{Kind: Pyproject, File: "pyproject.toml"}
	seen := map[string]bool{}
	for _, text := range s.project.Project.Dependencies {
		text = strings.TrimSpace(text)
		if seen[text] {
			continue
		}
		seen[text] = true
		if _, err := python.ParseRequirement(text); err != nil || python.IsLocal(text) || credential.InURL(text) || !printable(text) {
			s.note("A dependency in pyproject.toml cannot be listed here as it is, and was left out: %s.", credential.Mask([]byte(text)))
			continue
		}
		from.requirements = append(from.requirements, text)
		from.add(text)
	}
	return from
}

package project

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// entry is one requirement in the form in which a manifest and a lock can be compared.
type entry struct {
	name      string // normal form
	extras    []string
	specifier string // "" where the place says which version
	place     place
	marker    python.Marker
	text      string // as messages show it
	loose     bool   // only the name can be compared
}

// place is where a requirement comes from; the zero value is any index.
type place struct {
	kind string // "index", "url", "git", "path", "editable", "directory", "virtual"
	ref  string // URL, or path in the tree
}

// local says whether the place is in the folder of the spec.
func (p place) local() bool {
	return p.kind == "path" || p.kind == "editable" || p.kind == "directory" || p.kind == "virtual"
}

// sameKey says whether two entries ask for the same thing, markers aside.
func (e entry) sameKey(o entry) bool {
	if e.name != o.name || e.loose || o.loose {
		return e.name == o.name
	}
	return slices.Equal(e.extras, o.extras) && e.place == o.place && (e.place.kind != "" && e.place.kind != "index" || python.SameSpecifier(e.specifier, o.specifier))
}

func normalExtras(names []string) []string {
	var out []string
	for _, n := range names {
		if n = python.NormalName(n); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// declared is a requirement of a manifest, under the condition of an extra when it belongs to one.
func (c *comparison) declared(m *manifest, text string, extra string) (entry, bool) {
	key := m.path + "\x00" + extra + "\x00" + text // groups that include others say the same again and again
	if e, ok := c.parsed[key]; ok {
		return e, e.name != ""
	}
	e := c.parse(m, text, extra)
	if c.parsed == nil {
		c.parsed = map[string]entry{}
	}
	c.parsed[key] = e
	return e, e.name != ""
}

func (c *comparison) parse(m *manifest, text string, extra string) entry {
	r, err := python.ParseRequirement(text)
	if err != nil {
		return entry{}
	}
	marker, err := python.ParseMarker(r.Marker)
	if err != nil {
		return entry{}
	}
	if extra != "" {
		only, err := python.ParseMarker(fmt.Sprintf("extra == '%s'", python.NormalName(extra)))
		if err != nil {
			return entry{}
		}
		marker = marker.And(only)
	}
	e := entry{name: python.NormalName(r.Name), extras: normalExtras(r.Extras), specifier: r.Specifier, marker: marker, text: strings.TrimSpace(text)}
	if r.URL != "" {
		e.place, e.loose = directPlace(r.URL)
		return e
	}
	c.applySource(m, &e)
	return e
}

// directPlace is the place that a direct reference names, as a lock writes it.
func directPlace(ref string) (p place, loose bool) {
	if git, ok := strings.CutPrefix(ref, "git+"); ok {
		u, err := url.Parse(git)
		if err != nil {
			return place{}, true
		}
		rev := ""
		if i := strings.LastIndexByte(u.Path, '@'); i >= 0 {
			u.Path, rev = u.Path[:i], u.Path[i+1:]
		}
		return place{"git", gitRef(u.String(), "rev", rev, "")}, u.Fragment != ""
	}
	u, err := url.Parse(ref)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return place{}, true
	}
	return place{"url", plainURL(ref)}, u.Fragment != ""
}

// gitRef is a repository with the reference that is asked for.
func gitRef(repository, kind, value, subdirectory string) string {
	q := url.Values{}
	if value != "" {
		q.Set(kind, value)
	}
	if subdirectory != "" {
		q.Set("subdirectory", strings.Trim(path.Clean(subdirectory), "/"))
	}
	return plainURL(strings.TrimPrefix(repository, "git+")) + "?" + q.Encode()
}

// plainURL is a URL without what two spellings of one place differ in, and without credentials.
func plainURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	u.Host = strings.ToLower(u.Host)
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), ".git")
	return u.String()
}

// applySource sets the place that [tool.uv.sources] gives a dependency; the workspace's root speaks for
// members that say nothing themselves.
func (c *comparison) applySource(m *manifest, e *entry) {
	list, from := m.sources[e.name], m
	if list == nil {
		list, from = c.ws.root.sources[e.name], c.ws.root
		e.loose = m.nested && list != nil
	}
	if len(list) == 0 || e.loose {
		return
	}
	s := list[0]
	if len(list) > 1 || s.Marker != "" || s.Extra != "" || s.Group != "" || s.WorkspaceRoot != "" {
		e.loose = true
		return
	}
	switch {
	case s.Git != "":
		kind, value := "rev", s.Rev
		if s.Tag != "" {
			kind, value = "tag", s.Tag
		} else if s.Branch != "" {
			kind, value = "branch", s.Branch
		}
		e.place = place{"git", gitRef(s.Git, kind, value, s.Subdirectory)}
	case s.URL != "":
		e.place = place{"url", plainURL(s.URL)}
		e.loose = s.Subdirectory != ""
	case s.Path != "":
		e.place = pathPlace(from.dir, s)
	case s.Workspace:
		e.place = c.memberPlace(e.name, s)
		e.loose = e.place.kind == ""
	case s.Index != "":
		e.place = place{"index", c.indexURL(from, s.Index)}
		e.loose = e.place.ref == ""
	}
	e.text += e.place.String()
}

// String is how messages say it, after the requirement.
func (p place) String() string {
	switch p.kind {
	case "":
		return ""
	case "index":
		return " from " + p.ref
	case "editable":
		return " @ " + p.ref + " (editable)"
	}
	return " @ " + strings.TrimSuffix(p.ref, "?")
}

// pathPlace is a place in the folder of the spec. A folder whose "package" is false is not built.
func pathPlace(dir string, s python.Source) place {
	ref := path.Join(dir, s.Path)
	switch ref := ref; {
	case python.KindOf(s.Path) != python.Folder:
		return place{"path", ref}
	case s.Package != nil && !*s.Package:
		return place{"virtual", ref}
	case s.Editable:
		return place{"editable", ref}
	}
	return place{"directory", ref}
}

// memberPlace is the folder of another member: editable, unless said otherwise.
func (c *comparison) memberPlace(name string, s python.Source) place {
	for _, m := range c.ws.members {
		if m.name() != name {
			continue
		}
		switch {
		case m.Tool.UV.Package != nil && !*m.Tool.UV.Package:
			return place{"virtual", m.dir}
		case s.EditableSet && !s.Editable:
			return place{"directory", m.dir}
		}
		return place{"editable", m.dir}
	}
	return place{}
}

// indexURL is the URL of a named index, "" when neither the project nor the workspace's root has it.
func (c *comparison) indexURL(m *manifest, name string) string {
	for _, from := range []*manifest{m, c.ws.root} {
		for _, i := range from.Tool.UV.Indexes {
			if i.Name == name {
				return plainURL(i.URL)
			}
		}
	}
	return ""
}

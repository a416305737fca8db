package project

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// keyed is an entry with its place in the manifest.
type keyed struct {
	entry
	key []string
}

// projectKeyed are a project's dependencies, and its optional ones under the condition of their extra.
func (c *comparison) projectKeyed(m *manifest) []keyed {
	if m.Project == nil {
		return nil
	}
	var out []keyed
	add := func(list []string, extra string, key ...string) {
		for i, text := range list {
			if e, ok := c.declared(m, text, extra); ok {
				out = append(out, keyed{e, append(slices.Clone(key), fmt.Sprint(i))})
			}
		}
	}
	add(m.Project.Dependencies, "", "project", "dependencies")
	for _, extra := range m.extras() {
		add(m.Project.Optional[extra], extra, "project", "optional-dependencies", extra)
	}
	return out
}

// groupKeyed are the dependencies of a group and of those that it includes.
func (c *comparison) groupKeyed(m *manifest, name string, seen map[string]bool) []keyed {
	name = python.NormalName(name)
	if seen[name] {
		return nil
	}
	seen[name] = true
	var out []keyed
	add := func(text string, key ...string) {
		if e, ok := c.declared(m, text, ""); ok {
			e.loose = e.loose || m.Tool.UV.GroupSettings != nil // its requires-python would be part of the marker
			out = append(out, keyed{e, key})
		}
	}
	for _, written := range m.groupsFor[name] {
		for i, item := range m.Groups[written] {
			switch v := item.(type) {
			case string:
				add(v, "dependency-groups", written, fmt.Sprint(i))
			case map[string]any:
				if other, ok := v["include-group"].(string); ok {
					out = append(out, c.groupKeyed(m, other, seen)...)
				}
			}
		}
	}
	if name == "dev" {
		for i, text := range m.Tool.UV.DevGroup {
			add(text, "tool", "uv", "dev-dependencies", fmt.Sprint(i))
		}
	}
	return out
}

// dependencies compares a project's dependencies and extras.
func (c *comparison) dependencies(m *manifest, meta lockMetadata) {
	if m.dynamic("dependencies") || m.dynamic("optional-dependencies") {
		return // only a build can tell
	}
	want := c.projectKeyed(m)
	self := func(k keyed) bool { return k.name == m.name() }
	withExtras := true
	if m.dynamic("version") && slices.ContainsFunc(want, self) {
		// Then the lock has what a build said, in which extras that name each other may be spelled out.
		want, withExtras = slices.DeleteFunc(want, self), false
	}
	c.entries(m.document, want, meta.RequiresDist, withExtras)
	if c.lock.Revision < 1 {
		return // the first locks did not list extras
	}
	for _, extra := range m.extras() {
		if !containsName(meta.Extras, extra) {
			c.stale(m.document, fmt.Sprintf("it was made without the extra %s", extra), "project", "optional-dependencies", extra)
		}
	}
	for _, extra := range meta.Extras {
		if !containsName(m.extras(), extra) {
			c.stale(m.document, fmt.Sprintf("it was made with an extra %s", extra), "project", "optional-dependencies")
		}
	}
}

func containsName(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return python.NormalName(s) == python.NormalName(name) })
}

// groups compares a project's dependency groups.
func (c *comparison) groups(m *manifest, have map[string][]lockRequirement) {
	locked := map[string][]lockRequirement{}
	for name, list := range have {
		locked[python.NormalName(name)] = list
	}
	for _, name := range m.groups() {
		list, ok := locked[python.NormalName(name)]
		want := c.groupKeyed(m, name, map[string]bool{})
		if !ok && len(want) == 0 && c.lock.Revision >= 1 && m.Project != nil {
			c.stale(m.document, fmt.Sprintf("it was made without the dependency group %s", name), "dependency-groups", name)
		}
		c.entries(m.document, want, list, false)
	}
	for _, name := range sortedKeys(locked) {
		if !containsName(m.groups(), name) && (len(locked[name]) > 0 || m.Project != nil) {
			c.stale(m.document, fmt.Sprintf("it was made with a dependency group %s", name), "dependency-groups")
		}
	}
}

// entries compares two lists of requirements. A lock's entry must be asked for in all environments that it
// is for, and what is asked for must have an entry of its name wherever it applies.
func (c *comparison) entries(d *document, want []keyed, locked []lockRequirement, extras bool) {
	have, ok := c.locked(locked)
	if !ok {
		return
	}
	s := newSearch(c.lock.RequiresPython, extras, &c.left)
	names := map[string]*sameName{}
	of := func(name string) *sameName {
		if names[name] == nil {
			names[name] = &sameName{}
		}
		return names[name]
	}
	for _, w := range want {
		n := of(w.name)
		n.want, n.loose = append(n.want, w), n.loose || w.loose
	}
	for _, h := range have {
		n := of(h.name)
		n.have, n.loose = append(n.have, h), n.loose || h.loose
	}
	for _, name := range sortedKeys(names) {
		if what, key := names[name].difference(s, path.Base(d.path)); what != "" {
			if key == nil {
				key = listKey(want)
			}
			c.stale(d, what, key...)
		}
	}
}

// sameName are the requirements of one name in a manifest and in its lock.
type sameName struct {
	want  []keyed
	have  []entry
	loose bool // one of them is
}

// maxSameName bounds a comparison of all with all.
const maxSameName = 50

// difference is the first one that is certain, with its place in the manifest; "" when there is none.
func (n *sameName) difference(s *search, by string) (what string, key []string) {
	if len(n.want) > maxSameName || len(n.have) > maxSameName {
		return "", nil
	}
	for _, h := range n.have {
		var same []python.Marker
		var other *keyed // what to show: preferably an entry with another key
		for i, w := range n.want {
			if w.sameKey(h) {
				same = append(same, w.marker)
			}
			if other == nil || !w.sameKey(h) {
				other = &n.want[i]
			}
		}
		switch {
		case other == nil && s.found(h.marker, nil):
			return fmt.Sprintf("%s does not ask for %s any more", by, h.text), nil
		case other != nil && !n.loose && s.found(h.marker, same):
			return fmt.Sprintf("%s asks for %s, the lock was made for %s", by, other.text, h.text), other.key
		}
	}
	var locked []python.Marker
	for _, h := range n.have {
		locked = append(locked, h.marker)
	}
	for _, w := range n.want {
		switch {
		case len(n.have) == 0 && s.found(w.marker, nil):
			return fmt.Sprintf("%s asks for %s, the lock was made without it", by, w.text), w.key
		case len(n.have) > 0 && !n.loose && s.found(w.marker, locked):
			return fmt.Sprintf("%s asks for %s, the lock was made for %s", by, w.text, n.have[len(n.have)-1].text), w.key
		}
	}
	return "", nil
}

// listKey is the list that the first entry is in.
func listKey(list []keyed) []string {
	if len(list) == 0 {
		return []string{"project", "dependencies"}
	}
	return list[0].key[:len(list[0].key)-1]
}

func (c *comparison) locked(list []lockRequirement) ([]entry, bool) {
	var out []entry
	for _, r := range list {
		e, ok := r.entry(c.dir)
		if !ok {
			return nil, false
		}
		out = append(out, e)
	}
	return out, true
}

// rules compares constraints or overrides. One that is new may not matter, so only those of the lock are looked for.
func (c *comparison) rules(m *manifest, field string, texts []string, locked []lockRequirement) {
	have, ok := c.locked(locked)
	if len(have) > maxSameName || len(texts) > maxSameName {
		return // all are compared with all
	}
	if !ok || slices.ContainsFunc(locked, func(r lockRequirement) bool { return r.Scope != nil }) {
		return
	}
	var want []entry
	for _, text := range texts {
		if e, ok := c.declared(m, text, ""); ok {
			want = append(want, e)
		}
	}
	s := newSearch(c.lock.RequiresPython, false, &c.left)
	for _, h := range have {
		var same []python.Marker
		loose := h.loose
		for _, w := range want {
			loose = loose || w.loose && w.name == h.name
			if w.sameKey(h) {
				same = append(same, w.marker)
			}
		}
		if !loose && s.found(h.marker, same) {
			c.stale(c.manifest, fmt.Sprintf("it was made with %s in %s", h.text, field), "tool", "uv", field)
		}
	}
}

func allTexts(list []any) ([]string, bool) {
	var out []string
	for _, item := range list {
		s, ok := item.(string)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

func (c *comparison) excludes(m *manifest) {
	want, ok := allTexts(m.Tool.UV.Excludes)
	have, lockOK := allTexts(c.lock.Manifest.Excludes)
	if !ok || !lockOK {
		return
	}
	for _, name := range have {
		if !containsName(want, name) {
			c.stale(m.document, fmt.Sprintf("it was made with %s in exclude-dependencies", name), "tool", "uv", "exclude-dependencies")
		}
	}
}

// conflicts compares the sets of extras that exclude each other. Groups that include each other widen the
// lock's sets, so sets with groups are only counted.
func (c *comparison) conflicts() {
	var want, have []string
	groups := false
	for _, m := range c.ws.members {
		for _, set := range m.Tool.UV.Conflicts {
			var items []string
			for _, item := range set {
				text := func(key string) string { s, _ := item[key].(string); return python.NormalName(s) }
				groups = groups || text("group") != ""
				items = append(items, cmp.Or(text("package"), m.name())+" "+text("extra")+" "+text("group"))
			}
			want = append(want, joinSorted(items))
		}
	}
	for _, set := range c.lock.Conflicts {
		var items []string
		for _, item := range set {
			groups = groups || item.Group != ""
			items = append(items, python.NormalName(item.Package)+" "+python.NormalName(item.Extra)+" "+python.NormalName(item.Group))
		}
		have = append(have, joinSorted(items))
	}
	if groups && len(want) > 0 && len(have) > 0 {
		return
	}
	if joinSorted(want) != joinSorted(have) {
		c.stale(c.manifest, "conflicts in [tool.uv] are not those that it was made with", "tool", "uv", "conflicts")
	}
}

// environments compares the lists of markers that a resolution is limited to.
func (c *comparison) environments(field string, value any, locked []string) {
	var want []string
	switch v := value.(type) {
	case nil:
	case string:
		want = []string{v}
	case []any:
		texts, ok := allTexts(v)
		if !ok {
			return
		}
		want = texts
	default:
		return
	}
	differ := len(want) != len(locked)
	s := newSearch(c.lock.RequiresPython, false, &c.left)
	for i := 0; i < len(want) && !differ; i++ {
		a, errA := python.ParseMarker(want[i])
		b, errB := python.ParseMarker(locked[i])
		if errA != nil || errB != nil {
			return
		}
		differ = s.found(a, []python.Marker{b}) || s.found(b, []python.Marker{a})
	}
	if differ {
		c.stale(c.manifest, field+" are not those that it was made for", "tool", "uv", field)
	}
}

func joinSorted(list []string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "\n")
}

// options compares the settings that decide which versions are chosen. The lock leaves out what is the default.
func (c *comparison) options(d *document) {
	o := c.lock.Options
	prerelease, isText := c.settings.Prerelease.(string)
	for _, s := range []struct{ name, want, have, standard string }{
		{"resolution", c.settings.Resolution, o.Resolution, "highest"},
		{"prerelease", prerelease, o.Prerelease, "if-necessary-or-explicit"},
		{"fork-strategy", c.settings.ForkStrategy, o.ForkStrategy, "requires-python"},
	} {
		if s.name == "prerelease" && !isText && c.settings.Prerelease != nil {
			continue
		}
		want, have := cmp.Or(s.want, s.standard), cmp.Or(s.have, s.standard)
		if want != have {
			c.stale(d, fmt.Sprintf("%s is %s, the lock was made with %s", s.name, want, have), "tool", "uv", s.name)
		}
	}
	if o.Span != "" {
		return // a span of days moves with the clock, and uv goes on with a lock that was made with another one
	}
	want, isTime := instant(c.settings.ExcludeNewer)
	have, lockTime := instant(o.ExcludeNewer)
	switch {
	case c.settings.ExcludeNewer == nil && lockTime:
		c.stale(d, fmt.Sprintf("it was made with exclude-newer %s", have.Format(time.RFC3339)), "tool", "uv")
	case isTime && o.ExcludeNewer == nil:
		c.stale(d, "it was made without exclude-newer", "tool", "uv", "exclude-newer")
	case isTime && lockTime && want.Before(have):
		c.stale(d, fmt.Sprintf("exclude-newer is %s, the lock was made with %s", want.Format(time.RFC3339), have.Format(time.RFC3339)), "tool", "uv", "exclude-newer")
	}
}

// instant reads a time with a zone; a date means different times in different zones.
func instant(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, true
	case string:
		t, err := time.Parse(time.RFC3339, v)
		return t, err == nil
	}
	return time.Time{}, false
}

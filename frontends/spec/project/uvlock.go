package project

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/python"
)

// lockVersion is the version of uv's lock format that this package reads. Revisions of it only add to it,
// and uv reads newer ones than its own.
const lockVersion = 1

// uvLock is what of a uv.lock is compared with manifests.
type uvLock struct {
	Version        int           `toml:"version"`
	Revision       int           `toml:"revision"`
	RequiresPython string        `toml:"requires-python"`
	Environments   []string      `toml:"supported-markers"`
	Required       []string      `toml:"required-markers"`
	Conflicts      [][]conflict  `toml:"conflicts"`
	Options        lockOptions   `toml:"options"`
	Manifest       lockManifest  `toml:"manifest"`
	Packages       []lockPackage `toml:"package"`
	Distributions  []any         `toml:"distribution"` // what the first versions of uv wrote instead
	index          map[string][]*lockPackage
}

type conflict struct {
	Package string `toml:"package"`
	Extra   string `toml:"extra"`
	Group   string `toml:"group"`
}

type lockOptions struct {
	Resolution   string `toml:"resolution-mode"`
	Prerelease   string `toml:"prerelease-mode"`
	ForkStrategy string `toml:"fork-strategy"`
	ExcludeNewer any    `toml:"exclude-newer"`
	Span         string `toml:"exclude-newer-span"`
}

// lockManifest is what the lock was made for, beside the packages of the workspace.
type lockManifest struct {
	Members          []string                     `toml:"members"`
	Requirements     []lockRequirement            `toml:"requirements"`
	Constraints      []lockRequirement            `toml:"constraints"`
	Overrides        []lockRequirement            `toml:"overrides"`
	BuildConstraints []lockRequirement            `toml:"build-constraints"`
	Excludes         []any                        `toml:"excludes"`
	Groups           map[string][]lockRequirement `toml:"dependency-groups"`
}

type lockPackage struct {
	Name         string                      `toml:"name"`
	Version      string                      `toml:"version"`
	Source       map[string]any              `toml:"source"`
	Dependencies []lockDependency            `toml:"dependencies"`
	Optional     map[string][]lockDependency `toml:"optional-dependencies"`
	Dev          map[string][]lockDependency `toml:"dev-dependencies"`
	Metadata     *lockMetadata               `toml:"metadata"`
}

type lockDependency struct {
	Name string `toml:"name"`
}

type lockMetadata struct {
	RequiresDist []lockRequirement            `toml:"requires-dist"`
	RequiresDev  map[string][]lockRequirement `toml:"requires-dev"`
	Extras       []string                     `toml:"provides-extras"`
}

type lockRequirement struct {
	Name      string   `toml:"name"`
	Extras    []string `toml:"extras"`
	Specifier string   `toml:"specifier"`
	Marker    string   `toml:"marker"`
	Index     string   `toml:"index"`
	URL       string   `toml:"url"`
	Git       string   `toml:"git"`
	Path      string   `toml:"path"`
	Directory string   `toml:"directory"`
	Editable  string   `toml:"editable"`
	Virtual   string   `toml:"virtual"`
	Subdir    string   `toml:"subdirectory"`
	Conflict  any      `toml:"conflict"`
	Scope     any      `toml:"package"` // an override for the dependencies of one package
}

// lock decodes a uv.lock. False and a finding when this package cannot read it; remedy is the command that
// makes it anew.
func (d *document) lock(l *uvLock, remedy string) bool {
	var head struct {
		Version int `toml:"version"`
	}
	if !d.decode(&head) {
		return false
	}
	switch {
	case head.Version == 0:
		d.failAt(1, 1, "this is not a lock of uv: it has no version", "make it with "+remedy)
		return false
	case head.Version > lockVersion:
		d.fail(fmt.Sprintf("the lock has version %d of its format, and version %d is the newest that is supported", head.Version, lockVersion),
			"make it with an older uv: remove it and run "+remedy, "version")
		return false
	}
	if !d.decode(l) {
		return false
	}
	switch {
	case l.Revision < 0:
		d.fail(fmt.Sprintf("%d is not a revision of the lock format", l.Revision), "make the lock again: remove it and run "+remedy, "revision")
		return false
	case l.Distributions != nil:
		d.fail("the lock was made by a uv before 0.3", "make it again with "+remedy, "distribution")
		return false
	}
	return true
}

// member is the package that the lock has for a project in dir (relative to the lock), nil when there is none.
func (l *uvLock) member(name, dir string) *lockPackage {
	for _, p := range l.named(name) {
		for _, kind := range []string{"virtual", "editable", "directory"} {
			if at, ok := p.Source[kind].(string); ok && path.Clean(at) == dir {
				return p
			}
		}
	}
	return nil
}

// entry is a requirement of the lock; root is the folder of the lock, which paths begin in.
func (r lockRequirement) entry(root string) (entry, bool) {
	marker, err := python.ParseMarker(r.Marker)
	if err != nil || r.Name == "" {
		return entry{}, false
	}
	e := entry{name: python.NormalName(r.Name), extras: normalExtras(r.Extras), specifier: r.Specifier, marker: marker, text: r.String()}
	e.loose = r.Conflict != nil || r.Subdir != ""
	switch {
	case r.Git != "":
		u, err := url.Parse(r.Git)
		if err != nil {
			return entry{}, false
		}
		q := u.Query()
		e.place = place{"git", plainURL(r.Git)}
		kind, value := "rev", ""
		for _, k := range []string{"rev", "tag", "branch"} {
			if q.Get(k) != "" {
				kind, value = k, q.Get(k)
			}
		}
		e.place.ref = gitRef(r.Git, kind, value, q.Get("subdirectory"))
	case r.URL != "":
		e.place = place{"url", plainURL(r.URL)}
	case r.Index != "":
		e.place = place{"index", plainURL(r.Index)}
		e.loose = e.loose || !strings.Contains(r.Index, "://")
	case r.Path != "":
		e.place = place{"path", path.Join(root, r.Path)}
	case r.Directory != "":
		e.place = place{"directory", path.Join(root, r.Directory)}
	case r.Editable != "":
		e.place = place{"editable", path.Join(root, r.Editable)}
	case r.Virtual != "":
		e.place = place{"virtual", path.Join(root, r.Virtual)}
	}
	return e, true
}

// String is the requirement as a manifest would write it.
func (r lockRequirement) String() string {
	text := r.Name
	if len(r.Extras) > 0 {
		text += "[" + strings.Join(r.Extras, ",") + "]"
	}
	text += strings.ReplaceAll(r.Specifier, " ", "")
	for _, at := range []string{r.Git, r.URL, r.Path, r.Directory, r.Virtual} {
		if at != "" {
			text += " @ " + at
		}
	}
	if r.Editable != "" {
		text += " @ " + r.Editable + " (editable)"
	}
	if r.Index != "" {
		text += " from " + r.Index
	}
	if r.Marker != "" {
		text += "; " + r.Marker
	}
	return text
}

package settings

import (
	"bytes"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/llb"
)

// aptTarget is one list of packages that apt on this machine uses.
type aptTarget struct{ uri, suite, component, arch string }

// parseTargets reads the output of apt-get indextargets in the format that startApt asks for.
func parseTargets(data []byte) (targets []aptTarget) {
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) == 4 && !strings.Contains(line, "$(") {
			targets = append(targets, aptTarget{f[0], f[1], f[2], f[3]})
		}
	}
	return targets
}

// distribution is what is the same on all machines with one release of Debian or Ubuntu.
type distribution struct {
	id, codename string
	domain       string // of its public hosts
	components   []string
	// everywhere says that all architectures are at the same place.
	everywhere bool
}

func (d *detector) distribution() (distribution, bool) {
	id, codename := "", ""
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := d.host.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch value = strings.Trim(value, `"'`); name {
			case "ID":
				id = value
			case "VERSION_CODENAME":
				codename = value
			}
		}
		break
	}
	if codename == "" || !indexName().MatchString(codename) {
		return distribution{}, false
	}
	switch id {
	case "debian":
		return distribution{id, codename, debianHosts, []string{"main", "contrib", "non-free", "non-free-firmware"}, true}, true
	case "ubuntu":
		return distribution{id, codename, ubuntuHosts, []string{"main", "restricted", "universe", "multiverse"}, false}, true
	}
	return distribution{}, false
}

// The domains of the distributions' public hosts.
const (
	debianHosts = ".debian.org"
	ubuntuHosts = ".ubuntu.com"
)

func under(uri, domain string) bool {
	u, err := url.Parse(uri)
	return err == nil && strings.HasSuffix("."+strings.ToLower(u.Hostname()), domain)
}

func (r distribution) hasSuite(suite string) bool {
	rest, ok := strings.CutPrefix(suite, r.codename)
	return ok && slices.Contains([]string{"", "-updates", "-security", "/updates", "-backports", "-backports-sloppy", "-proposed", "-proposed-updates"}, rest)
}

// mirrors carries the distribution's own suites when one of them comes from another host than the public
// ones. Repositories of third parties stay behind: an image has no key for them.
func (d *detector) mirrors(targets []aptTarget) {
	if len(targets) == 0 {
		return
	}
	r, ok := d.distribution()
	if !ok {
		return
	}
	var list sourceList
	mirrored := false
	passed := map[string]bool{}
	genuine := map[string]bool{}
	for _, t := range targets {
		public := under(t.uri, r.domain)
		id := t.uri + " " + t.suite
		if _, ok := genuine[id]; !ok {
			genuine[id] = isWeb(t.uri) && r.hasSuite(t.suite) && (public || d.isMirror(r, t))
		}
		if !genuine[id] || !slices.Contains(r.components, t.component) {
			if !public && !passed[id] {
				passed[id] = true
				d.note("apt repository %s %s is not carried: it is not known to be a mirror of %s", redact(t.uri), t.suite, r.id)
			}
			continue
		}
		mirrored = mirrored || !public
		list.add(t)
	}
	if !mirrored {
		return
	}
	head := "# codename: " + r.codename + "\n"
	if !r.everywhere {
		head += "# architecture: " + strings.Join(list.architectures, " ") + "\n"
	}
	for _, e := range list.entries() {
		d.noteURL("apt mirror for "+strings.Join(e.suites, ", "), setting{e.uri, "apt-get indextargets"})
	}
	d.machine.Files[llb.MachineList] = []byte(head + list.deb822())
}

// isMirror says whether a repository at another host is the distribution's: by the release file that apt has
// of it, and without one by the end of its path.
func (d *detector) isMirror(r distribution, t aptTarget) bool {
	for _, name := range []string{"InRelease", "Release"} {
		data, err := d.host.ReadFile("/var/lib/apt/lists/" + listName(t.uri, t.suite, name))
		if err != nil {
			continue
		}
		head, _, _ := bytes.Cut(data, []byte("\nSHA256:"))
		for line := range bytes.Lines(head) {
			if origin, ok := bytes.CutPrefix(line, []byte("Origin:")); ok {
				return strings.HasPrefix(strings.ToLower(string(bytes.TrimSpace(origin))), r.id)
			}
		}
	}
	u, err := url.Parse(t.uri)
	return err == nil && strings.HasPrefix(strings.ToLower(path.Base(u.Path)), r.id)
}

// listName is apt's name for the file of a repository in its folder of lists.
func listName(uri, suite, name string) string {
	_, rest, _ := strings.Cut(uri, "://")
	host, tail, _ := strings.Cut(rest, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	full := host + "/" + strings.TrimSuffix(tail, "/") + "/dists/" + suite + "/" + name
	var b strings.Builder
	for _, c := range []byte(full) {
		switch {
		case c == '/':
			b.WriteByte('_')
		case strings.IndexByte("\\|{}[]<>\"^~_=!@#$%&*", c) >= 0 || c <= 0x20 || c >= 0x7f:
			fmt.Fprintf(&b, "%%%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

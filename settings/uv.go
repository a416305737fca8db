package settings

import (
	"net/url"
	"slices"
	"strings"
)

// uvSettings is what uv is told. Indexes are written as uv's variables have them: a URL, or name=URL.
type uvSettings struct {
	fallback setting   // the index that takes PyPI's place
	indexes  []setting // those before it, in order
	insecure []setting
	timeout  setting
}

// readUV gathers what uv would gather itself: variables first, then the user's and the system's file;
// lists go one after the other.
func (d *detector) readUV() (uvSettings, error) {
	files, err := d.uvFiles()
	if err != nil {
		return uvSettings{}, err
	}
	u := uvSettings{
		fallback: d.env("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
		indexes:  fields(d.env("UV_INDEX")),
		insecure: fields(d.env("UV_INSECURE_HOST")),
		timeout:  d.env("UV_HTTP_TIMEOUT"),
	}
	for _, f := range files {
		for _, index := range f.Index {
			s := setting{index.URL, f.path}
			if indexName().MatchString(index.Name) {
				s.value = index.Name + "=" + s.value
			}
			switch {
			case index.URL == "":
			case index.Explicit:
				d.note("uv index %s is not carried: it is explicit (from %s)", redact(index.URL), f.path)
			case index.Format != "" && index.Format != "simple":
				d.note("uv index %s is not carried: its format is %s (from %s)", redact(index.URL), index.Format, f.path)
			case index.Default:
				u.fallback = first(u.fallback, s)
			default:
				u.indexes = append(u.indexes, s)
			}
		}
		for _, host := range f.InsecureHosts {
			u.insecure = append(u.insecure, fields(setting{host, f.path})...)
		}
	}
	u.indexes = append(u.indexes, fields(d.env("UV_EXTRA_INDEX_URL"))...)
	for _, f := range files {
		u.fallback = first(u.fallback, setting{f.IndexURL, f.path})
		for _, x := range f.ExtraIndexURLs {
			u.indexes = append(u.indexes, fields(setting{x, f.path})...)
		}
	}
	return u, nil
}

// uv sets uv's variables. Where uv is told nothing about indexes it gets pip's.
func (d *detector) uv(u uvSettings, p pipSettings) {
	if u.fallback.value == "" && len(u.indexes) == 0 {
		u.fallback, u.indexes = p.index, fields(p.extra)
		if len(u.insecure) == 0 {
			u.insecure = fields(p.trusted)
		}
	}
	u.fallback = first(d.configured(d.cfg.IndexURL), u.fallback)
	if len(d.cfg.ExtraIndexURLs) > 0 {
		u.indexes = fields(d.configured(strings.Join(d.cfg.ExtraIndexURLs, " ")))
	}
	d.set("UV_DEFAULT_INDEX", d.uvIndexes("uv default index", []setting{u.fallback}))
	d.set("UV_INDEX", d.uvIndexes("uv index", u.indexes))

	var hosts []string
	for _, h := range u.insecure {
		if !slices.Contains(hosts, h.value) {
			hosts = append(hosts, h.value)
			d.note("uv trusts %s without a certificate (from %s)", redact(h.value), h.from)
		}
	}
	d.set("UV_INSECURE_HOST", strings.Join(hosts, " "))

	if u.timeout.value == "" {
		u.timeout = setting{wholeSeconds(p.timeout.value), p.timeout.from}
	}
	if u.timeout.value != "" {
		d.set("UV_HTTP_TIMEOUT", u.timeout.value)
		d.note("uv timeout %s (from %s)", redact(u.timeout.value), u.timeout.from)
	}
}

// uvIndexes is the indexes that a step can reach, each once and noted.
func (d *detector) uvIndexes(what string, list []setting) string {
	var out, seen []string
	for _, s := range list {
		name, target := splitIndex(s.value)
		switch {
		case target == "" || slices.Contains(seen, target):
			continue
		case !isWeb(target):
			d.note("%s %s is not carried: it is not a web address (from %s)", what, redact(target), s.from)
			continue
		case strings.ContainsFunc(target, func(r rune) bool { return r == ' ' || isControl(r) }):
			d.note("%s %s is not carried: it has spaces or control characters (from %s)", what, redact(target), s.from)
			continue
		}
		seen = append(seen, target)
		d.noteURL(what, setting{target, s.from})
		if name != "" {
			out = append(out, name+"="+d.withLogin(name, target))
		} else {
			out = append(out, target)
		}
	}
	return strings.Join(out, " ")
}

var indexName = pattern(`^[A-Za-z0-9._-]+$`)

// splitIndex splits name=URL.
func splitIndex(s string) (name, target string) {
	if name, target, ok := strings.Cut(s, "="); ok && indexName().MatchString(name) {
		return name, target
	}
	return "", s
}

// withLogin puts the user and password that uv's variables have for a named index into its URL: the
// names of these variables are not among those that a step can be given.
func (d *detector) withLogin(name, target string) string {
	upper := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	user, password := d.env("UV_INDEX_"+upper+"_USERNAME"), d.env("UV_INDEX_"+upper+"_PASSWORD")
	if user.value == "" && password.value == "" {
		return target
	}
	u, err := url.Parse(target)
	if err != nil || u.User != nil {
		return target
	}
	u.User = url.User(user.value)
	if password.value != "" {
		u.User = url.UserPassword(user.value, password.value)
	}
	return u.String()
}

// fields splits a list at white space.
func fields(s setting) (out []setting) {
	for _, f := range strings.Fields(s.value) {
		out = append(out, setting{f, s.from})
	}
	return out
}

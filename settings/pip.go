package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// pipSettings is what the environment and files say; lists are as pip splits them, at white space.
type pipSettings struct {
	index, extra, trusted, timeout, cert, proxy setting
}

// readPip reads pip's settings with pip's precedence: variables, then the section of the command, then the
// global one; within a section a later file wins. An empty value is none.
func (d *detector) readPip() (pipSettings, error) {
	conf, err := d.pipFiles()
	if err != nil {
		return pipSettings{}, err
	}
	option := func(names ...string) setting {
		for _, name := range names {
			if s := d.env("PIP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))); s.value != "" {
				return s
			}
		}
		for _, section := range []string{"install", "global"} {
			for _, name := range names {
				if s := conf[section][name]; s.value != "" {
					return s
				}
			}
		}
		return setting{}
	}
	p := pipSettings{
		index:   option("index-url"),
		extra:   option("extra-index-url"),
		trusted: option("trusted-host"),
		timeout: option("timeout", "default-timeout"),
		cert:    option("cert"),
		proxy:   option("proxy"),
	}
	p.cert.value = d.expand(p.cert.value)
	return p, nil
}

// pipFiles reads pip's files in pip's order: global, user, site, and the one that PIP_CONFIG_FILE names,
// which takes the place of the user's. /dev/null there means no file at all.
func (d *detector) pipFiles() (pipConf, error) {
	named := d.host.Getenv("PIP_CONFIG_FILE")
	if named == "/dev/null" {
		return nil, nil
	}
	paths := append(d.systemConfig("pip", "pip.conf"), "/Library/Application Support/pip/pip.conf", "/etc/pip.conf")
	if named == "" || d.missing(named) {
		paths = append(paths, d.home(".pip", "pip.conf"), d.userConfig("pip", "pip.conf"), d.home("Library", "Application Support", "pip", "pip.conf"))
	}
	if venv := d.host.Getenv("VIRTUAL_ENV"); venv != "" {
		paths = append(paths, venv+"/pip.conf")
	}
	paths = append(paths, named)
	conf := pipConf{}
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := conf.add(path, d.read(path)); err != nil {
			return nil, err
		}
	}
	return conf, nil
}

func (d *detector) missing(path string) bool {
	_, err := d.host.ReadFile(path)
	return errors.Is(err, fs.ErrNotExist)
}

// pip sets pip's variables.
func (d *detector) pip(p pipSettings) {
	index := first(d.configured(d.cfg.IndexURL), p.index)
	extra := first(d.configured(strings.Join(d.cfg.ExtraIndexURLs, " ")), p.extra)
	d.set("PIP_INDEX_URL", d.webOnly("pip index", index))
	d.set("PIP_EXTRA_INDEX_URL", d.webOnly("pip extra index", extra))
	if hosts := strings.Fields(p.trusted.value); len(hosts) > 0 {
		d.set("PIP_TRUSTED_HOST", strings.Join(hosts, " "))
		d.note("pip trusts %s without a certificate (from %s)", redactAll(hosts), p.trusted.from)
	}
	if p.timeout.value != "" {
		d.set("PIP_DEFAULT_TIMEOUT", p.timeout.value)
		d.note("pip timeout %s (from %s)", redact(p.timeout.value), p.timeout.from)
	}
}

// webOnly is the URLs of a list that a step can reach, each noted.
func (d *detector) webOnly(what string, list setting) string {
	var out []string
	for _, u := range strings.Fields(list.value) {
		if !isWeb(u) {
			d.note("%s %s is not carried: it is not a web address (from %s)", what, redact(u), list.from)
			continue
		}
		d.noteURL(what, setting{u, list.from})
		out = append(out, u)
	}
	return strings.Join(out, " ")
}

func redactAll(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = redact(s)
	}
	return strings.Join(out, " ")
}

// wholeSeconds is pip's timeout, a decimal number, as uv takes it.
func wholeSeconds(s string) string {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0 && f < 1e6) {
		return ""
	}
	n := int(f)
	if float64(n) < f {
		n++
	}
	return fmt.Sprint(n)
}

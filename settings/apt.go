package settings

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ibuild/ibuild/llb"
)

const (
	aptConfig = "/usr/bin/apt-config"
	aptGet    = "/usr/bin/apt-get"
	// aptTimeout bounds a command that hangs, as with a home folder out of reach.
	aptTimeout = 5 * time.Second
)

// aptAnswer is what apt on this machine says.
type aptAnswer struct {
	conf    aptConf
	targets []aptTarget
	notes   []string
}

// aptConf is the part of apt's configuration about reaching networks.
type aptConf struct {
	proxies []aptOption
	ca      []setting
	auto    bool // a command finds the proxy
}

type aptOption struct{ name, value string }

// startApt asks apt, while the rest goes on. Nothing is run where apt is not installed, or where the
// configuration file has the answer.
func (d *detector) startApt(ctx context.Context) <-chan aptAnswer {
	out := make(chan aptAnswer, 1)
	if found, err := d.host.Glob(aptConfig); err != nil || len(found) == 0 {
		out <- aptAnswer{}
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, aptTimeout)
	type result struct {
		data []byte
		err  error
	}
	run := func(name string, args ...string) <-chan result {
		c := make(chan result, 1)
		go func() {
			data, err := d.host.Run(ctx, name, args...)
			c <- result{data, err}
		}()
		return c
	}
	dump := run(aptConfig, "dump")
	var targets <-chan result
	if d.cfg.AptSources == "" && d.otherHosts() {
		// With a folder that has no release files apt does not read the large ones that there are.
		targets = run(aptGet, "indextargets", "-o", "Dir::State::lists=/var/lib/apt/", "--no-release-info",
			"--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ARCHITECTURE)", "Created-By: Packages", "Target-Of: deb")
	}
	go func() {
		defer cancel()
		var a aptAnswer
		if r := <-dump; r.err != nil {
			a.notes = append(a.notes, "apt's proxies are not known: apt-config: "+r.err.Error())
		} else {
			a.conf = parseAptConfig(r.data)
		}
		if targets != nil {
			if r := <-targets; r.err != nil {
				a.notes = append(a.notes, "apt's mirrors are not known: apt-get indextargets: "+r.err.Error())
			} else {
				a.targets = parseTargets(r.data)
			}
		}
		out <- a
	}()
	return out
}

// otherHosts says whether apt's files name anything but the public hosts of Debian and Ubuntu. Where they do
// not there is no mirror, and nothing to ask apt for, which takes longer than all the rest.
func (d *detector) otherHosts() bool {
	for _, pattern := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources"} {
		paths, err := d.host.Glob(pattern)
		if err != nil {
			continue
		}
		for _, path := range paths {
			data, err := d.host.ReadFile(path)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(data)) {
				if strings.HasPrefix(strings.TrimSpace(line), "#") {
					continue
				}
				for _, word := range strings.Fields(line) {
					if strings.Contains(word, ":/") && !under(word, debianHosts) && !under(word, ubuntuHosts) {
						return true
					}
				}
			}
		}
	}
	return false
}

var (
	aptLine  = pattern(`^([^ ]+) "(.*)";$`)
	aptProxy = pattern(`(?i)^Acquire::https?::Proxy(::[A-Za-z0-9._:\[\]-]+)?$`)
	aptAuto  = pattern(`(?i)^Acquire::https?::Proxy-?Auto-?Detect$`)
	aptCA    = pattern(`(?i)^Acquire::https::(?:[^ ]+::)?CAInfo$`)
)

// parseAptConfig reads the output of apt-config dump.
func parseAptConfig(data []byte) (conf aptConf) {
	for line := range strings.Lines(string(data)) {
		m := aptLine().FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil || m[2] == "" {
			continue
		}
		switch {
		case aptProxy().MatchString(m[1]):
			conf.proxies = append(conf.proxies, aptOption{m[1], m[2]})
		case aptAuto().MatchString(m[1]):
			conf.auto = true
		case aptCA().MatchString(m[1]):
			conf.ca = append(conf.ca, setting{m[2], "apt's " + m[1]})
		}
	}
	return conf
}

// apt sets apt's files.
func (d *detector) apt(a aptAnswer, hasCA bool) error {
	for _, n := range a.notes {
		d.note("%s", n)
	}
	proxies, from := a.conf.proxies, "apt-config"
	if p := d.configured(d.cfg.AptProxy); p.value != "" {
		proxies, from = []aptOption{{"Acquire::http::Proxy", p.value}, {"Acquire::https::Proxy", p.value}}, p.from
	} else if a.conf.auto {
		d.note("apt proxy: the command that finds it on this machine is not carried")
	}
	var conf strings.Builder
	for _, p := range proxies {
		if strings.ContainsFunc(p.value, func(r rune) bool { return isControl(r) || r == '"' }) {
			d.note("apt proxy %s is not carried: it has control characters or quotes", p.name)
			continue
		}
		fmt.Fprintf(&conf, "%s \"%s\";\n", p.name, p.value)
		d.noteURL("apt "+p.name, setting{p.value, from})
	}
	if hasCA {
		fmt.Fprintf(&conf, "Acquire::https::CAInfo \"%s\";\n", llb.MachineFile(llb.MachineCA))
	}
	if conf.Len() > 0 {
		d.machine.Files[llb.MachineApt] = []byte(conf.String())
		d.set("APT_CONFIG", llb.MachineFile(llb.MachineApt))
	}
	if d.cfg.AptSources == "" {
		d.mirrors(a.targets)
		return nil
	}
	data, err := d.host.ReadFile(d.cfg.AptSources)
	if err == nil {
		data, err = aptSources(data)
	}
	if err != nil {
		return &Error{File: d.cfg.AptSources, Msg: "the apt sources cannot be used: " + cause(err), Err: err,
			Hint: "mend packages.apt_sources in " + d.configFile()}
	}
	d.machine.Files[llb.MachineList] = data
	d.note("apt sources %s (from %s)", d.cfg.AptSources, d.configFile())
	return nil
}

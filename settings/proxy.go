package settings

import "strings"

// proxies sets the variables in upper and lower case: curl and apt read the lower one, others the upper.
func (d *detector) proxies(pip setting) {
	names := []struct {
		upper, label string
		configured   string
	}{
		{"HTTP_PROXY", "http proxy", d.cfg.HTTPProxy},
		{"HTTPS_PROXY", "https proxy", d.cfg.HTTPSProxy},
		{"ALL_PROXY", "proxy for all", ""},
		{"NO_PROXY", "no proxy for", d.cfg.NoProxy},
	}
	found := false
	for _, n := range names {
		lower := strings.ToLower(n.upper)
		cfg := d.configured(n.configured)
		up, low := first(cfg, d.env(n.upper), d.env(lower)), first(cfg, d.env(lower), d.env(n.upper))
		if up.value == "" {
			continue
		}
		d.set(n.upper, up.value)
		d.set(lower, low.value)
		if n.upper == "NO_PROXY" {
			d.note("%s %s (from %s)", n.label, redact(up.value), up.from)
			continue
		}
		found = true
		d.noteURL(n.label, up)
		if low.value != up.value {
			d.noteURL(n.label+", for tools that read "+lower+",", low)
		}
	}
	if found || pip.value == "" {
		return
	}
	if !strings.Contains(pip.value, "://") {
		pip.value = "http://" + pip.value
	}
	for _, n := range names[:2] {
		d.set(n.upper, pip.value)
		d.set(strings.ToLower(n.upper), pip.value)
	}
	d.noteURL("http and https proxy", pip)
}

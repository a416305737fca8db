package main

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/runner/gke"
)

// capturedNever are variables that belong to this machine: in a pod they would break what they name there.
var capturedNever = []string{"PATH", "HOME", "PWD", "OLDPWD", "SHELL", "TMPDIR", "USER", "LOGNAME", "HOSTNAME", "KUBECONFIG", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}

// capturedNeverPrefixes are such families of variables.
var capturedNeverPrefixes = []string{"LD_", "CONDA", "_CONDA", "DYLD_", "SSH_", "XDG_", "KUBERNETES_", "TPU_WORKER_", "MEGASCALE_"}

// variables are those that the program gets: what --env says, after what --env-capture finds in environ
// (NAME=VALUE). Those that look like credentials come apart.
func variables(explicit, patterns, environ []string) (plain, secret []gke.Variable, err error) {
	values := map[string]string{}
	var order []string
	put := func(name, value string) {
		if _, there := values[name]; !there {
			order = append(order, name)
		}
		values[name] = value
	}
	for _, p := range patterns {
		names, err := captured(p, environ)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range names {
			put(name, lookup(environ, name))
		}
	}
	for _, e := range explicit {
		name, value, given := strings.Cut(e, "=")
		if name == "" {
			return nil, nil, &usage{msg: fmt.Sprintf("--env %q has no name", e), hint: "write --env NAME=VALUE, or --env NAME to pass one on"}
		}
		if !given {
			if !slices.ContainsFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, name+"=") }) {
				return nil, nil, &usage{msg: fmt.Sprintf("--env %s: there is no such variable here", name), hint: "write --env " + name + "=VALUE"}
			}
			value = lookup(environ, name)
		}
		put(name, value)
	}
	for _, name := range order {
		v := gke.Variable{Name: name, Value: values[name]}
		if credential.InVariable(name, v.Value) != "" || credential.InName(name) { // a Secret too many costs nothing
			secret = append(secret, v)
		} else {
			plain = append(plain, v)
		}
	}
	return plain, secret, nil
}

// captured lists the names that a pattern of --env-capture means, sorted.
func captured(pattern string, environ []string) ([]string, error) {
	prefix, wild := strings.CutSuffix(pattern, "*")
	if strings.Contains(prefix, "*") || prefix == "" {
		return nil, &usage{msg: fmt.Sprintf("--env-capture %q", pattern), hint: "write a NAME, or a PREFIX* with something before the star: all of an environment is of no use in another place"}
	}
	var names []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case !wild && name == pattern:
			names = append(names, name)
		case wild && strings.HasPrefix(name, prefix) && !ofThisMachine(name):
			names = append(names, name)
		}
	}
	if len(names) == 0 && !wild {
		return nil, &usage{msg: fmt.Sprintf("--env-capture %s: there is no such variable here", pattern), hint: "export it, or leave the flag out"}
	}
	slices.Sort(names)
	return names, nil
}

// ofThisMachine says that no prefix catches a variable. Who wants it names it.
func ofThisMachine(name string) bool {
	return slices.Contains(capturedNever, name) || slices.ContainsFunc(capturedNeverPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

func lookup(environ []string, name string) string {
	value := ""
	for _, kv := range environ { // the last one counts, as for a process
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// parseSecretMounts reads --mount-secret.
func parseSecretMounts(list []string) (mounts []gke.SecretMount, err error) {
	for _, text := range list {
		name, folder, placed := strings.Cut(text, ":")
		if name == "" || placed && !strings.HasPrefix(folder, "/") {
			return nil, &usage{msg: fmt.Sprintf("--mount-secret %q", text), hint: "write SECRET, or SECRET:/FOLDER"}
		}
		mounts = append(mounts, gke.SecretMount{Secret: name, Path: folder})
	}
	return mounts, nil
}

// parseVolumes reads --volume.
func parseVolumes(list []string) (volumes []gke.Volume, err error) {
	for _, text := range list {
		rest, readOnly := strings.CutSuffix(text, ":ro")
		at := strings.LastIndex(rest, ":/")
		if at < 0 || strings.HasPrefix(rest[at:], "://") {
			return nil, &usage{msg: fmt.Sprintf("--volume %q does not say where", text), hint: "write CLAIM:/FOLDER or gs://BUCKET:/FOLDER, with :ro to only read"}
		}
		v, err := parseStorage("--volume "+text, rest[:at])
		if err != nil {
			return nil, err
		}
		v.Path, v.ReadOnly = rest[at+1:], readOnly
		volumes = append(volumes, v)
	}
	return volumes, nil
}

// parseStorage reads what is mounted: gs://BUCKET[/PATH], pvc://CLAIM[/PATH] or CLAIM[/PATH].
func parseStorage(flag, text string) (v gke.Volume, err error) {
	bucket, ok := strings.CutPrefix(text, "gs://")
	name, sub, _ := strings.Cut(bucket, "/")
	if v.Bucket = name; !ok {
		name, sub, _ = strings.Cut(strings.TrimPrefix(text, "pvc://"), "/")
		v.Bucket, v.Claim = "", name
	}
	v.Sub = strings.Trim(sub, "/")
	if name == "" || strings.Contains(name, ":") || slices.Contains(strings.Split(v.Sub, "/"), "..") {
		return v, &usage{msg: fmt.Sprintf("%s: %q is neither a claim nor a bucket", flag, text), hint: "write CLAIM[/PATH] or gs://BUCKET[/PATH]"}
	}
	return v, nil
}

// owner is who submits, for people.
func owner() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		return name + "@" + host
	}
	return name
}

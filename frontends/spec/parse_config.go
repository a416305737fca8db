package spec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (f *flat) copyList(k, v *yaml.Node) {
	list, at := f.texts(v, k.Value)
	for i, p := range list {
		c := Copy{Path: p, placed: placed{marks{}}}
		c.marks.set(at[i])
		f.copies = append(f.copies, c)
	}
}

// command reads entrypoint or cmd: a list, or a text for the shell.
func (f *flat) command(k, v *yaml.Node) command {
	f.img.marks.set(f.span(k, v), k.Value)
	if v.Kind == yaml.ScalarNode {
		s, ok := f.text(v, k.Value)
		if ok && strings.TrimSpace(s) == "" {
			f.fail(v, k.Value+" is empty", "write [] to clear the base's")
		}
		return command{set: true, args: []string{"/bin/sh", "-c", s}}
	}
	list, _ := f.texts(v, k.Value)
	return command{set: list != nil, args: list}
}

// flatSteps are the flat fields that run something, and so may use secrets.
func flatSteps() []string {
	return []string{"apt_packages", "packages", "requirements", "commands", "conda_packages", "platform_packages", "from_env", "script"}
}

func (f *flat) secrets(k, v *yaml.Node) {
	if v.Kind != yaml.SequenceNode {
		f.wrongKind(v, k.Value, "a list")
		return
	}
	for _, item := range v.Content {
		item = f.follow(item)
		s := Secret{at: f.place(item)}
		if item.Kind != yaml.MappingNode {
			s.ID, _ = f.text(item, "a secret")
		} else {
			f.secret(item, &s)
		}
		if s.ID != "" {
			f.img.secrets = append(f.img.secrets, s)
		}
	}
}

func (f *flat) secret(item *yaml.Node, s *Secret) {
	m := marks{}
	var steps []string
	f.mapping(item, "a secret", append(s.fields(table{f.reader, m}), f.forField(m, &steps)))
	at := func(i int) mark { return m.at("for", i) }
	if s.ID == "" {
		f.fail(item, "a secret has no id", "")
		return
	}
	if f.forSteps == nil {
		f.forSteps = map[string][]Secret{}
	}
	for i, step := range steps {
		if !slices.Contains(flatSteps(), step) {
			f.failAt(at(i), fmt.Sprintf("%q is not a field that runs something", step), keyHint(step, flatSteps()))
			continue
		}
		f.forSteps[step] = append(f.forSteps[step], Secret{ID: s.ID, at: s.at})
	}
}

// refuseFor finds secrets for fields of an image that is a Dockerfile, which has none that run something.
func (f *flat) refuseFor() {
	for _, step := range flatSteps() {
		for _, s := range f.forSteps[step] {
			f.failAt(s.at, fmt.Sprintf("the secret %q is for %s, and the image is a Dockerfile", s.ID, step), "remove for: the Dockerfile's own steps ask by id")
		}
	}
}

// secretMounts reads the secrets of one layer.
func (r *reader) secretMounts(v *yaml.Node) []Secret {
	if v.Kind != yaml.SequenceNode {
		r.wrongKind(v, "secrets", "a list")
		return nil
	}
	var out []Secret
	for _, item := range v.Content {
		item = r.follow(item)
		s := Secret{at: r.place(item)}
		if item.Kind != yaml.MappingNode {
			s.ID, _ = r.text(item, "a secret")
		} else {
			r.mapping(item, "a secret", s.mountFields(table{r, marks{}}))
			if s.ID == "" {
				r.fail(item, "a secret has no id", "")
			}
		}
		if s.ID != "" {
			out = append(out, s)
		}
	}
	return out
}

func (f *flat) forField(m marks, to *[]string) field {
	return table{f.reader, m}.texts("for", "the flat fields whose steps mount it", to)
}

// pipSecretMounts are flytekit's: pairs of a file on this machine and the path that the pip step sees it at.
func (f *flat) pipSecretMounts(k, v *yaml.Node) {
	if v.Kind != yaml.SequenceNode {
		f.wrongKind(v, k.Value, "a list")
		return
	}
	for _, item := range v.Content {
		pair, _ := f.texts(item, "an item of "+k.Value)
		if len(pair) != 2 {
			if pair != nil {
				f.fail(item, "an item of pip_secret_mounts has two parts", "write [file on this machine, path in the step]")
			}
			continue
		}
		s := Secret{ID: fmt.Sprintf("pip-secret-%d", len(f.pipSecrets)+1), File: pair[1], at: f.place(item)}
		f.img.secrets = append(f.img.secrets, Secret{ID: s.ID, File: pair[1], From: pair[0], at: s.at})
		f.pipSecrets = append(f.pipSecrets, s)
	}
}

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
		m := marks{}
		m.set(at[i])
		f.copies = append(f.copies, Copy{Path: p, marks: m})
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

func (f *flat) labels(k, v *yaml.Node) {
	f.img.labels = map[string]string{}
	f.pairs(v, k.Value, func(name string, key, value *yaml.Node) {
		if value.Tag == "!!null" {
			f.fail(key, fmt.Sprintf("the label %s has no value", short(name)), `write "" for an empty one`)
			return
		}
		if s, ok := f.text(value, "the label "+short(name)); ok {
			f.img.labels[name] = s
			f.img.marks.set(f.span(key, value), "labels", name)
		}
	})
}

// flatSteps are the flat fields that run something, and so may use secrets.
func flatSteps() []string { return []string{"apt_packages", "packages", "requirements", "commands"} }

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
	var at []mark
	f.mapping(item, "a secret", []field{
		{"id", f.part(&s.ID, m)},
		{"env", f.part(&s.Env, m)},
		{"file", f.part(&s.File, m)},
		{"optional", func(k, v *yaml.Node) { s.Optional = f.flag(v, k.Value) }},
		{"for", func(k, v *yaml.Node) { steps, at = f.texts(v, k.Value) }},
	}, nil)
	if s.ID == "" {
		f.fail(item, "a secret has no id", "")
		return
	}
	if f.forSteps == nil {
		f.forSteps = map[string][]SecretMount{}
	}
	for i, step := range steps {
		if !slices.Contains(flatSteps(), step) {
			f.failAt(at[i], fmt.Sprintf("%q is not a field that runs something", step), keyHint(step, flatSteps(), nil))
			continue
		}
		f.forSteps[step] = append(f.forSteps[step], SecretMount{ID: s.ID, at: s.at})
	}
}

// secretMounts reads the secrets of one layer.
func (r *reader) secretMounts(v *yaml.Node) []SecretMount {
	if v.Kind != yaml.SequenceNode {
		r.wrongKind(v, "secrets", "a list")
		return nil
	}
	var out []SecretMount
	for _, item := range v.Content {
		item = r.follow(item)
		s := SecretMount{at: r.place(item)}
		if item.Kind != yaml.MappingNode {
			s.ID, _ = r.text(item, "a secret")
		} else {
			m := marks{}
			r.mapping(item, "a secret", []field{
				{"id", r.part(&s.ID, m)},
				{"env", r.part(&s.Env, m)},
				{"file", r.part(&s.File, m)},
				{"optional", func(k, v *yaml.Node) { s.Optional = r.flag(v, k.Value) }},
			}, nil)
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

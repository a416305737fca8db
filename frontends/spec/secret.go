package spec

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/frontends/spec/project"
	"github.com/ibuild/ibuild/llb"
)

// Secret is a secret that steps may mount. [Image.WithSecrets] declares it for all layers, with how those see it
// that name no more than its id; in a layer's own secrets it is mounted by the steps of that layer.
type Secret struct {
	// ID is a key, or group/key for one under /etc/secrets.
	ID string
	// Env is the environment variable that holds it while a step runs. Where none of Env, File and Index is set, a
	// layer sees the secret as it is declared, and else as the variable of the key's name.
	Env string
	// File is the absolute path of the file that holds it while a step runs.
	File string
	// Optional lets steps run without it.
	Optional bool
	// Index is the name of a package index whose password it is; Username goes with it.
	Index    string
	Username string
	// Version is any text. Steps that mount the secret run again when it changes. It belongs to the declaration.
	Version string
	// From is a file in the spec's folder that holds it, where the caller says nothing else. It belongs to the
	// declaration. Files elsewhere are for the caller to give: a spec does not decide what of a machine a build may
	// read.
	From string

	at mark
}

// mountFields are what a layer may say of a secret.
func (s *Secret) mountFields(t table) []field {
	return []field{
		s.short(t),
		t.text("env", "the variable that holds it while a step runs", &s.Env),
		t.text("file", "the file that holds it while a step runs", &s.File),
		t.flag("optional", "steps run without it, too", &s.Optional),
		t.text("index", "the name of the package index whose password it is", &s.Index),
		t.text("username", "the user name that goes with the password of an index", &s.Username),
	}
}

func (s *Secret) fields(t table) []field {
	return append(s.mountFields(t),
		t.text("from", "a file in the spec's folder that holds it, where the caller says nothing else", &s.From),
		t.text("version", "any text; steps that mount the secret run again when it changes", &s.Version),
	)
}

func (s *Secret) short(t table) field {
	return t.text("id", "a key, or group/key for one under /etc/secrets", &s.ID)
}

// key is the id without its group.
func key(id string) string { return path.Base(id) }

// mounts turns a layer's secrets into mounts and variables of the step, and notes that the image needs them.
func (l *lowering) mounts(secrets []Secret) (mounts []llb.Mount, env []string) {
	return l.mountsAs(secrets, l.layer, uvCredentials)
}

// credentials are the variables in which a tool looks for those of an index.
type credentials func(index string) (username, password string)

// uvCredentials are those of uv.
func uvCredentials(index string) (username, password string) {
	return project.Index{Name: index}.Variables()
}

// poetryCredentials are those of poetry, for its sources
// (https://python-poetry.org/docs/configuration/#http-basicnameusernamepassword).
func poetryCredentials(source string) (username, password string) {
	name := variable(source)
	return "POETRY_HTTP_BASIC_" + name + "_USERNAME", "POETRY_HTTP_BASIC_" + name + "_PASSWORD"
}

// mountsAs is [lowering.mounts] for a step at a place of its own, of a tool with its own variables.
func (l *lowering) mountsAs(secrets []Secret, step mark, names credentials) (mounts []llb.Mount, env []string) {
	taken := map[string]bool{}
	for _, s := range secrets {
		at := s.at
		if at.line == 0 {
			at = step
		}
		if !l.checkID(s.ID, at) {
			continue
		}
		if s.Version != "" || s.From != "" {
			l.fail(at, fmt.Sprintf("the secret %q has a version, or a file that it is from, where it is mounted", s.ID), "say that where it is declared, in the image's list of secrets")
			continue
		}
		s = l.declared(s, at)
		if s.From != "" && l.depth > 0 {
			s.ID = fmt.Sprintf("%s.base%d", s.ID, l.depth) // another file than the one that a spec on top calls so
		}
		if !l.checkIndex(s, at) {
			continue
		}
		switch {
		case s.Index != "":
			username, password := names(s.Index)
			s.Env = password
			env = append(env, username+"="+cmp.Or(s.Username, "__token__"))
		case s.Env == "" && s.File == "":
			s.Env = key(s.ID)
		case path.Base(s.File) == ".netrc":
			env = append(env, "NETRC="+s.File)
		}
		l.need(s, at)
		if !l.checkWhere(s, at) {
			continue
		}
		if s.Version != "" {
			env = append(env, "IBUILD_SECRET_VERSION_"+variable(s.ID)+"="+s.Version)
		}
		where := s.Env + s.File
		if taken[where] {
			l.fail(at, fmt.Sprintf("two secrets are mounted as %q", where), "")
			continue
		}
		taken[where] = true
		mounts = append(mounts, llb.Mount{Kind: llb.SecretMount, ID: s.ID, Env: s.Env, Target: s.File, Optional: s.Optional})
	}
	return mounts, env
}

// variable is a name as a part of a variable's.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
}

// checkIndex checks what a secret says of a package index.
func (l *lowering) checkIndex(s Secret, at mark) bool {
	switch {
	case s.Index == "" && s.Username == "":
		return true
	case s.Index == "":
		l.fail(at, fmt.Sprintf("the secret %q has a username, but no index", s.ID), "say index: the name of the index")
	case !indexName(s.Index):
		l.fail(at, fmt.Sprintf("%q is not the name of an index", s.Index), "write letters, digits, _ . -")
	case s.File != "" || s.Env != "":
		l.fail(at, fmt.Sprintf("the secret %q has an index, and env or file", s.ID), "keep one of them")
	case control(s.Username) || credential.InText(s.Username) != "":
		l.fail(at, fmt.Sprintf("the user name of the secret %q looks like a credential, or has a control character in it", s.ID), "it becomes a part of the build's definition")
	default:
		return true
	}
	return false
}

// checkSecretIndexes compares the indexes that secrets are for with those that there are; none is what to say
// where there are none.
func (l *lowering) checkSecretIndexes(secrets []Secret, indexes []project.Index, none string) {
	var names []string
	for _, i := range indexes {
		names = append(names, i.Name)
	}
	for _, s := range secrets {
		s = l.declared(s, s.at)
		if s.Index == "" || slices.Contains(names, s.Index) {
			continue
		}
		hint := none
		if len(names) > 0 {
			hint = "the indexes are " + strings.Join(names, ", ")
		}
		l.fail(s.at, fmt.Sprintf("the secret %q is for the index %q, which there is not", s.ID, s.Index), hint)
	}
}

// declared fills in what the image says of the secret.
func (l *lowering) declared(s Secret, at mark) Secret {
	var ids []string
	for _, d := range l.img.secrets {
		ids = append(ids, d.ID)
		if d.ID != s.ID {
			continue
		}
		if s.Env == "" && s.File == "" && s.Index == "" {
			s.Env, s.File, s.Index, s.Username = d.Env, d.File, d.Index, d.Username
		}
		s.Optional, s.Version, s.From = s.Optional || d.Optional, d.Version, d.From
		return s
	}
	if len(ids) > 0 {
		hint := "add it there"
		if near, ok := closest(s.ID, ids); ok {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		l.fail(at, fmt.Sprintf("the secret %q is not in the list of secrets", s.ID), hint)
	}
	return s
}

// need notes a secret of the plan; it is optional when all its mounts are.
func (l *lowering) need(s Secret, at mark) {
	for i := range l.secrets {
		if l.secrets[i].ID == s.ID {
			l.secrets[i].Optional = l.secrets[i].Optional && s.Optional
			return
		}
	}
	l.secrets = append(l.secrets, llb.SecretNeed{ID: s.ID, Optional: s.Optional, File: l.secretFile(s.From), Lines: l.lines(at)})
}

// needIn notes a secret of a Dockerfile, whose own steps say how they see it.
func (l *lowering) needIn(s Secret) {
	if s.Env+s.File+s.Index+s.Username+s.Version != "" {
		l.fail(s.at, fmt.Sprintf("the secret %q says how steps see it, and the image is a Dockerfile", s.ID),
			fmt.Sprintf("keep id, optional and from, and write RUN --mount=type=secret,id=%s there", s.ID))
	}
	l.need(s, s.at)
}

// secretFile is the path of a file of the spec's folder.
func (l *lowering) secretFile(name string) string {
	if name == "" {
		return ""
	}
	return filepath.Join(l.src.Dir, filepath.FromSlash(name))
}

// checkSecrets checks the list of secrets itself; it runs after the layers, which say what is used.
func (l *lowering) checkSecrets() {
	first := map[string]bool{}
	for _, s := range l.img.secrets {
		if !l.checkID(s.ID, s.at) {
			continue
		}
		if first[s.ID] {
			l.fail(s.at, fmt.Sprintf("the secret %q is listed twice", s.ID), "")
			continue
		}
		first[s.ID] = true
		used := false
		for _, n := range l.secrets {
			used = used || n.ID == s.ID || s.From != "" && l.depth > 0 && n.ID == fmt.Sprintf("%s.base%d", s.ID, l.depth)
		}
		if control(s.Version) {
			l.fail(s.at, fmt.Sprintf("the version of the secret %q has a control character in it", s.ID), "")
		}
		if s.From != "" && l.checkSource(s.From, s.at) && l.folder != nil {
			if _, dir, ok := l.find(s.From, s.at); ok && dir {
				l.fail(s.at, fmt.Sprintf("the secret %q is the folder %q", s.ID, s.From), "name a file")
			}
		}
		if s.Env != "" || s.File != "" {
			l.checkWhere(s, s.at)
		}
		if !used && !l.partial {
			l.fail(s.at, fmt.Sprintf("no step uses the secret %q", s.ID),
				"name it in a layer's secrets, or say for: [packages] (or another field)")
		}
	}
}

func (l *lowering) checkID(id string, at mark) bool {
	if !secretID(id) || strings.Contains(id, "..") {
		l.fail(at, fmt.Sprintf("%q is not the id of a secret", id), "write a key or group/key: letters, digits, _ . -")
		return false
	}
	return true
}

func (l *lowering) checkWhere(s Secret, at mark) bool {
	switch {
	case s.Env != "" && s.File != "":
		l.fail(at, fmt.Sprintf("the secret %q has both env and file", s.ID), "keep one of them")
	case s.Env != "" && !envKey(s.Env):
		l.fail(at, fmt.Sprintf("%q is not the name of an environment variable", s.Env), "say env: NAME or file: /path")
	case s.File != "" && (!path.IsAbs(s.File) || path.Clean(s.File) != s.File || s.File == "/" || control(s.File)):
		l.fail(at, fmt.Sprintf("the secret's file %q is not an absolute path", s.File), "write e.g. /root/.netrc")
	default:
		return true
	}
	return false
}

package spec

import (
	"fmt"
	"path"
	"strings"

	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/util/suggest"
)

// Secret declares a secret, and how layers see it that name no more than its id.
type Secret struct {
	// ID is a key, or group/key for one under /etc/secrets.
	ID string
	// Env is the environment variable that holds it while a step runs; empty with File empty means the
	// one of the key's name.
	Env string
	// File is the absolute path of the file that holds it while a step runs.
	File string
	// Optional lets steps run without it.
	Optional bool

	at mark
}

// SecretMount shows a secret to the steps of one layer. Empty Env and File take what the [Secret] of
// that ID says.
type SecretMount struct {
	ID       string
	Env      string
	File     string
	Optional bool

	at mark
}

// key is the id without its group.
func key(id string) string { return path.Base(id) }

// mounts turns a layer's secrets into mounts, and notes that the image needs them.
func (l *lowering) mounts(secrets []SecretMount) []llb.Mount {
	var out []llb.Mount
	taken := map[string]bool{}
	for _, s := range secrets {
		at := s.at
		if at.line == 0 {
			at = l.layer
		}
		if !l.checkID(s.ID, at) {
			continue
		}
		s = l.declared(s, at)
		if s.Env == "" && s.File == "" {
			s.Env = key(s.ID)
		}
		l.need(s, at)
		if !l.checkWhere(s.ID, s.Env, s.File, at) {
			continue
		}
		where := s.Env + s.File
		if taken[where] {
			l.fail(at, fmt.Sprintf("two secrets are mounted as %q", where), "")
			continue
		}
		taken[where] = true
		out = append(out, llb.Mount{Kind: llb.SecretMount, ID: s.ID, Env: s.Env, Target: s.File, Optional: s.Optional})
	}
	return out
}

// declared fills in what the image says of the secret.
func (l *lowering) declared(s SecretMount, at mark) SecretMount {
	var ids []string
	for _, d := range l.img.secrets {
		ids = append(ids, d.ID)
		if d.ID != s.ID {
			continue
		}
		if s.Env == "" && s.File == "" {
			s.Env, s.File = d.Env, d.File
		}
		s.Optional = s.Optional || d.Optional
		return s
	}
	if len(ids) > 0 {
		hint := "add it there"
		if near, ok := suggest.Search(s.ID, ids, true); ok {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		l.fail(at, fmt.Sprintf("the secret %q is not in the list of secrets", s.ID), hint)
	}
	return s
}

// need notes a secret of the plan; it is optional when all its mounts are.
func (l *lowering) need(s SecretMount, at mark) {
	for i := range l.secrets {
		if l.secrets[i].ID == s.ID {
			l.secrets[i].Optional = l.secrets[i].Optional && s.Optional
			return
		}
	}
	l.secrets = append(l.secrets, llb.SecretNeed{ID: s.ID, Optional: s.Optional, Lines: at.lines()})
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
			used = used || n.ID == s.ID
		}
		if s.Env != "" || s.File != "" {
			l.checkWhere(s.ID, s.Env, s.File, s.at)
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

func (l *lowering) checkWhere(id, env, file string, at mark) bool {
	switch {
	case env != "" && file != "":
		l.fail(at, fmt.Sprintf("the secret %q has both env and file", id), "keep one of them")
	case env != "" && !envKey(env):
		l.fail(at, fmt.Sprintf("%q is not the name of an environment variable", env), "say env: NAME or file: /path")
	case file != "" && (!path.IsAbs(file) || path.Clean(file) != file || file == "/" || control(file)):
		l.fail(at, fmt.Sprintf("the secret's file %q is not an absolute path", file), "write e.g. /root/.netrc")
	default:
		return true
	}
	return false
}

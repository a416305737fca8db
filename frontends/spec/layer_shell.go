package spec

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/llb"
)

// Shell sets the shell of the commands that follow, and of the image: a program and its arguments, to which
// the command is added. Entry points that are texts run in /bin/sh all the same.
type Shell struct {
	Args []string // e.g. /bin/bash -o pipefail -c
	placed
}

// WithShell sets the shell of the commands that follow.
func (img Image) WithShell(args ...string) Image { return img.With(Shell{Args: args}) }

func (s Shell) kind() string { return "shell" }
func (s Shell) clone() Layer {
	s.Args = slices.Clone(s.Args)
	return s
}
func (s Shell) yaml() *yaml.Node      { return encode(&s) }
func (s *Shell) fields(table) []field { return nil }
func (s *Shell) short(t table) field  { return t.texts("args", "a program and its arguments", &s.Args) }

func (s Shell) lower(l *lowering) {
	if len(s.Args) == 0 || s.Args[0] == "" {
		l.empty(s.mark(), "the shell is empty")
		return
	}
	l.checkArgs("shell", s.Args, s.mark())
	l.shell = slices.Clone(s.Args)
	l.steps = append(l.steps, llb.Shell{Lines: l.lines(l.layer), Args: slices.Clone(s.Args)})
}

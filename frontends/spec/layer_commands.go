package spec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/llb"
)

// Commands is a layer of shell commands, one step each.
type Commands struct {
	Commands []string // run by /bin/sh -c, or by the shell of a [Shell] before it
	Secrets  []Secret
	placed
}

// WithCommands adds shell commands, one step each.
func (img Image) WithCommands(commands ...string) Image {
	return img.With(Commands{Commands: commands})
}

func (c Commands) kind() string { return "commands" }
func (c Commands) clone() Layer {
	c.Commands, c.Secrets = slices.Clone(c.Commands), slices.Clone(c.Secrets)
	return c
}

func (c Commands) yaml() *yaml.Node { return encode(&c) }

func (c *Commands) short(t table) field {
	return t.textOrTexts("commands", "each is one step, run by the shell", &c.Commands)
}

func (c *Commands) fields(t table) []field { return []field{c.short(t), t.secrets(&c.Secrets)} }

func (c Commands) lower(l *lowering) {
	if len(c.Commands) == 0 {
		l.empty(c.mark(), "the list of commands is empty")
	}
	mounts, env := l.mounts(c.Secrets)
	for i, text := range c.Commands {
		at := c.marks.at("commands", i)
		word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
		switch {
		case word == "":
			l.fail(at, "the command is empty", "")
		case word == "RUN":
			l.fail(at, "a command begins with RUN, as in a Dockerfile", fmt.Sprintf("write %q", strings.TrimSpace(rest)))
		case strings.ContainsRune(text, 0):
			l.fail(at, "the command has a NUL character in it", "")
		}
		l.checkCredential("the command", credential.InText(text), at)
		step := llb.Command(text, l.lines(at), slices.Clone(mounts)...)
		step.Env = append(step.Env, env...)
		if len(l.shell) > 0 {
			step.Args = append(slices.Clone(l.shell), text)
		}
		l.steps = append(l.steps, step)
	}
}

package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ibuild/ibuild/frontends/spec/credential"
	"github.com/ibuild/ibuild/llb"
)

// Env is a layer of environment variables. Nothing is expanded, so their order means nothing.
type Env struct {
	Vars map[string]string
	placed
}

// WithEnv sets environment variables, as they are.
func (img Image) WithEnv(vars map[string]string) Image { return img.With(Env{Vars: vars}) }

func (e Env) kind() string { return "env" }
func (e Env) clone() Layer {
	e.Vars = maps.Clone(e.Vars)
	return e
}

func (e Env) yaml() *yaml.Node { return encode(&e) }

func (e *Env) short(t table) field {
	return t.vars("vars", "", "variable", "the value of", &e.Vars)
}

func (e *Env) fields(table) []field { return nil }

func (e Env) lower(l *lowering) {
	for _, k := range slices.Sorted(maps.Keys(e.Vars)) {
		v, at := e.Vars[k], e.marks.at("vars", k)
		if !envKey(k) {
			l.fail(at, fmt.Sprintf("%q is not the name of an environment variable", k), "write letters, digits and _, no digit first")
		}
		if strings.ContainsRune(v, 0) {
			l.fail(at, fmt.Sprintf("the value of %s has a NUL character in it", k), "")
		}
		l.checkCredential("the value of "+k, credential.InVariable(k, v), at)
		l.steps = append(l.steps, llb.Env{Lines: l.lines(at), Key: k, Value: v})
	}
}

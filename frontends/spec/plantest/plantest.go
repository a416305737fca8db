// Package plantest shows plans as readable JSON and compares them with golden files. It is for tests
// only, and knows nothing of any format.
package plantest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/ibuild/ibuild/llb"
)

// JSON shows what a frontend has made of its source. Folders of this machine and empty fields are left out, bytes are
// shown as text.
func JSON(plan *llb.Plan) ([]byte, error) {
	steps := []any{}
	for _, s := range plan.Image.Steps {
		kind := strings.TrimPrefix(fmt.Sprintf("%T", s), "llb.")
		if e, ok := s.(llb.Exec); ok {
			s = withoutRecipe(e)
		}
		steps = append(steps, map[string]any{kind: asJSON{s}})
	}
	shown := map[string]any{
		"kind": plan.Kind, "name": plan.Name, "tag": plan.Tag, "secrets": asJSON{plan.Secrets},
		"platforms": asJSON{plan.Platforms}, "locals": slices.Sorted(maps.Keys(plan.Locals)),
		"base": asJSON{plan.Image.Base}, "steps": steps,
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(shown)
	return []byte(b.String()), err
}

// withoutRecipe leaves out what llb's own recipe adds to a step: its scripts, its environment, caches
// and helper images. They have golden files of their own there; here it is what the frontend asked for.
func withoutRecipe(e llb.Exec) llb.Exec {
	e.Native = 0
	e.Env = slices.DeleteFunc(slices.Clone(e.Env), ofRecipe)
	e.Args = slices.Clone(e.Args)
	if len(e.Args) > 3 && e.Args[1] == "-c" {
		e.Args[2] = "(recipe)" // a command of the user has no arguments after it
	}
	var mounts []llb.Mount
	for _, m := range e.Mounts {
		if m.Kind == llb.SecretMount || m.Kind == llb.LocalMount || m.Kind == llb.DataMount && strings.HasPrefix(m.Target, "/run/ibuild/") {
			mounts = append(mounts, m)
		}
	}
	e.Mounts = mounts
	return e
}

// ofRecipe says whether a variable is one that the recipe sets for every step of a tool.
func ofRecipe(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"UV_CACHE_DIR", "UV_LINK_MODE", "UV_NO_PROGRESS", "UV_PYTHON_DOWNLOADS", "POETRY_CACHE_DIR", "POETRY_VIRTUALENVS_CREATE"}, name)
}

// asJSON shows a value as maps and lists without what is empty.
type asJSON struct{ value any }

func (a asJSON) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(a.value)
	if err != nil {
		return nil, err
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, err
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err = enc.Encode(compact("", out))
	return []byte(b.String()), err
}

func compact(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x = compact(k, x); x == nil {
				delete(v, k)
			} else {
				v[k] = x
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i, x := range v {
			v[i] = compact("", x)
		}
		if len(v) == 0 {
			return nil
		}
	case string:
		if key == "Data" {
			if text, err := base64.StdEncoding.DecodeString(v); err == nil {
				return string(text)
			}
		}
		if v == "" {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}

// Compare compares a plan with the golden file at path; update writes the file instead.
func Compare(path string, plan *llb.Plan, update bool) error {
	got, err := JSON(plan)
	if err != nil {
		return err
	}
	if update {
		return os.WriteFile(path, got, 0o644)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w (run the test with -update)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		return fmt.Errorf("%s (run the test with -update when this is meant):\n%s", path, diff)
	}
	return nil
}

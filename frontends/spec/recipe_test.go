package spec

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ibuild/ibuild/llb"
)

// TestRecipeCounts: whatever a later ibuild does in another way is another image. Every word of every command that
// specs are lowered to is changed, each variable, and each file and image that it mounts.
func TestRecipeCounts(t *testing.T) {
	specs, err := filepath.Glob("testdata/*/image.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kinds, changed := map[string]bool{}, 0
	for _, path := range specs {
		plan := load(t, path)
		before := identityOf(t, plan)
		for i, s := range plan.Image.Steps {
			e, runs := s.(llb.Exec)
			if key := fmt.Sprint(e.Args); !runs || kinds[key] {
				continue // another spec has it
			} else {
				kinds[key] = true
			}
			for what, other := range otherSteps(e) {
				img := *plan.Image
				img.Steps = slices.Clone(img.Steps)
				img.Steps[i] = other
				again := *plan
				again.Image = &img
				if identityOf(t, &again) == before {
					t.Errorf("%s, %q: %s changes nothing", path, e.Title, what)
				}
				changed++
			}
		}
	}
	if len(kinds) < 30 || changed < 300 {
		t.Errorf("only %d commands with %d changes", len(kinds), changed)
	}
}

// otherSteps are steps that are different from e in one thing each, by what that is.
func otherSteps(e llb.Exec) map[string]llb.Exec {
	all := map[string]llb.Exec{}
	for i, a := range e.Args {
		other := e
		other.Args = slices.Clone(e.Args)
		other.Args[i] = a + " "
		all["argument "+a] = other
	}
	for i, kv := range e.Env {
		other := e
		other.Env = slices.Clone(e.Env)
		other.Env[i] = kv + " "
		all["variable "+kv] = other
	}
	for i, m := range e.Mounts {
		switch {
		case m.Kind == llb.DataMount:
			m.Data = append(slices.Clone(m.Data), ' ')
		case m.Kind == llb.ImageMount:
			m.Ref = "example.com/other:1"
		case m.Env != "":
			m.Env += "2"
		default:
			m.Target += "2"
		}
		other := e
		other.Mounts = slices.Clone(e.Mounts)
		other.Mounts[i] = m
		all["mount "+e.Mounts[i].Target+e.Mounts[i].Env] = other
	}
	return all
}

func identityOf(t *testing.T, plan *llb.Plan) digest.Digest {
	t.Helper()
	id, err := identifier(t.Context(), plan, placeOf(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

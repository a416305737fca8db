package spec

import (
	"slices"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/llb"
)

// TestSecretsOfLayers mounts one declared secret in all ways in which a layer may see it.
func TestSecretsOfLayers(t *testing.T) {
	img := DebianBase("3.12").WithSecrets(Secret{ID: "team/token", Index: "corp", Username: "reader", Version: "3", Optional: true})
	options := func(s Secret) PipOptions {
		return PipOptions{IndexURL: "corp=https://h/simple", Secrets: []Secret{s}}
	}
	for what, c := range map[string]struct {
		secret Secret
		mount  llb.Mount
		env    string
	}{
		"as declared":  {Secret{ID: "team/token"}, llb.Mount{Env: "UV_INDEX_CORP_PASSWORD"}, "UV_INDEX_CORP_USERNAME=reader"},
		"another user": {Secret{ID: "team/token", Index: "corp"}, llb.Mount{Env: "UV_INDEX_CORP_PASSWORD"}, "UV_INDEX_CORP_USERNAME=__token__"},
		"a variable":   {Secret{ID: "team/token", Env: "TOKEN"}, llb.Mount{Env: "TOKEN"}, ""},
		"a file":       {Secret{ID: "team/token", File: "/run/token"}, llb.Mount{Target: "/run/token"}, ""},
		"netrc":        {Secret{ID: "team/token", File: "/run/.netrc"}, llb.Mount{Target: "/run/.netrc"}, "NETRC=/run/.netrc"},
	} {
		c.mount.Kind, c.mount.ID, c.mount.Optional = llb.SecretMount, "team/token", true
		for name, img := range map[string]Image{
			"pip": img.WithPipPackages(options(c.secret), "x"), "platform_packages": img.WithPlatformPackages("x").WithPlatformOptions(options(c.secret)),
			"from_env": FromEnvironment(fakePython(t, environmentB), options(c.secret), "rich").WithSecrets(img.secrets...),
		} {
			plan, err := img.Plan(placeOf(t.TempDir()).Source)
			if err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
				continue
			}
			step := pipStep(t, plan)
			if m := step.Mounts[len(step.Mounts)-1]; m.Kind != c.mount.Kind || m.ID != c.mount.ID || m.Env != c.mount.Env || m.Target != c.mount.Target || m.Optional != c.mount.Optional {
				t.Errorf("%s, %s: mounted as %+v", what, name, m)
			}
			if c.env != "" && !slices.Contains(step.Env, c.env) || !slices.Contains(step.Env, "IBUILD_SECRET_VERSION_TEAM_TOKEN=3") {
				t.Errorf("%s, %s: the variables are %q", what, name, step.Env)
			}
			if len(plan.Secrets) != 1 || plan.Secrets[0].ID != "team/token" || !plan.Secrets[0].Optional {
				t.Errorf("%s, %s: the plan needs %+v", what, name, plan.Secrets)
			}
		}
	}
}

// pipStep is the one step of a plan that is uv pip install.
func pipStep(t *testing.T, plan *llb.Plan) llb.Exec {
	t.Helper()
	for _, s := range plan.Image.Steps {
		if e, ok := s.(llb.Exec); ok && len(e.Args) > 1 && e.Args[1] == "pip" {
			return e
		}
	}
	t.Fatal("no step installs packages")
	return llb.Exec{}
}

// TestSecretsAreDeclaredOnce: a layer cannot say what belongs to the declaration. YAML has no such keys there.
func TestSecretsAreDeclaredOnce(t *testing.T) {
	for _, s := range []Secret{{ID: "token", Version: "2"}, {ID: "token", From: "token.txt"}} {
		err := DebianBase("").With(Commands{Commands: []string{"true"}, Secrets: []Secret{s}}).Validate(t.TempDir())
		want := `layer 1 (commands): the secret "token" has a version, or a file that it is from, where it is mounted; say that where it is declared, in the image's list of secrets`
		if err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
	}
}

// TestSecretsWithoutIDs are findings, and can be written.
func TestSecretsWithoutIDs(t *testing.T) {
	for what, img := range map[string]Image{
		"declared": DebianBase("").WithSecrets(Secret{}), "mounted": DebianBase("").With(Commands{Commands: []string{"true"}, Secrets: []Secret{{}}}),
	} {
		if err := img.Validate(t.TempDir()); err == nil || !strings.Contains(err.Error(), `"" is not the id of a secret`) {
			t.Errorf("%s: %v", what, err)
		}
		if data, err := img.YAML(); err != nil || !strings.Contains(string(data), `secrets:`) {
			t.Errorf("%s: %v\n%s", what, err, data)
		}
	}
}

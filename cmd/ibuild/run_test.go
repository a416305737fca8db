package main

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/ibuild/ibuild/runner/gke"
)

func TestVariables(t *testing.T) {
	environ := []string{"WANDB_PROJECT=p", "WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567", "PATH=/bin", "LD_PRELOAD=x", "LDX=1", "CONDA_PREFIX=/c", "A=1", "A=2", "EMPTY="}
	for _, c := range []struct {
		name           string
		explicit, caps []string
		plain, secret  []gke.Variable
		wrong          string
	}{
		{name: "nothing"},
		{name: "given", explicit: []string{"X=a=b", "Y="}, plain: []gke.Variable{{Name: "X", Value: "a=b"}, {Name: "Y"}}},
		{name: "passed on, the last one counts", explicit: []string{"A", "EMPTY"}, plain: []gke.Variable{{Name: "A", Value: "2"}, {Name: "EMPTY"}}},
		{name: "a family, with its credential apart", caps: []string{"WANDB_*"}, plain: []gke.Variable{{Name: "WANDB_PROJECT", Value: "p"}},
			secret: []gke.Variable{{Name: "WANDB_API_KEY", Value: "0123456789abcdef0123456789abcdef01234567"}}},
		{name: "a credential by its name alone", explicit: []string{"DB_PASSWORD=hunter2", "PIN=1"}, plain: []gke.Variable{{Name: "PIN", Value: "1"}}, secret: []gke.Variable{{Name: "DB_PASSWORD", Value: "hunter2"}}},
		{name: "what is given wins over what is caught", caps: []string{"WANDB_P*"}, explicit: []string{"WANDB_PROJECT=q"}, plain: []gke.Variable{{Name: "WANDB_PROJECT", Value: "q"}}},
		{name: "no pattern catches what is this machine's", caps: []string{"L*", "P*", "C*"}, plain: []gke.Variable{{Name: "LDX", Value: "1"}}},
		{name: "but a name does", caps: []string{"PATH"}, plain: []gke.Variable{{Name: "PATH", Value: "/bin"}}},
		{name: "a family that is empty", caps: []string{"NONE_*"}},
		{name: "all", caps: []string{"*"}, wrong: `--env-capture "*"`},
		{name: "a star in the middle", caps: []string{"A*B"}, wrong: `--env-capture "A*B"`},
		{name: "a name that is not there", caps: []string{"NONE"}, wrong: "no such variable"},
		{name: "one to pass on that is not there", explicit: []string{"NONE"}, wrong: "no such variable"},
		{name: "no name", explicit: []string{"=x"}, wrong: "no name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plain, secret, err := variables(c.explicit, c.caps, environ)
			if c.wrong != "" {
				var use *usage
				if !errors.As(err, &use) || !strings.Contains(use.msg, c.wrong) || use.hint == "" {
					t.Fatalf("error %v, want %q with a hint", err, c.wrong)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(plain, c.plain) || !reflect.DeepEqual(secret, c.secret) {
				t.Errorf("plain %v secret %v error %v", plain, secret, err)
			}
		})
	}
}

func TestVolumes(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  gke.Volume
		wrong bool
	}{
		{text: "data:/data", want: gke.Volume{Claim: "data", Path: "/data"}},
		{text: "pvc://data/a/b:/data:ro", want: gke.Volume{Claim: "data", Sub: "a/b", Path: "/data", ReadOnly: true}},
		{text: "gs://bucket:/b", want: gke.Volume{Bucket: "bucket", Path: "/b"}},
		{text: "gs://bucket/x/:/b:ro", want: gke.Volume{Bucket: "bucket", Sub: "x", Path: "/b", ReadOnly: true}},
		{text: "gs://bucket", wrong: true},
		{text: "data", wrong: true},
		{text: "data:relative", wrong: true},
		{text: ":/x", wrong: true},
		{text: "data/../x:/x", wrong: true},
		{text: "gs://:/x", wrong: true},
	} {
		got, err := parseVolumes([]string{c.text})
		var use *usage
		if c.wrong != errors.As(err, &use) || !c.wrong && (err != nil || got[0] != c.want) {
			t.Errorf("%s: %+v, %v", c.text, got, err)
		}
	}
}

func TestSecretMounts(t *testing.T) {
	got, err := parseSecretMounts([]string{"hf", "keys:/run/keys"})
	if want := []gke.SecretMount{{Secret: "hf"}, {Secret: "keys", Path: "/run/keys"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, wrong := range []string{"", ":/x", "a:", "a:b"} {
		if _, err := parseSecretMounts([]string{wrong}); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// TestLogin: a pod gets the credentials of one registry, in the form that kubelets read.
func TestLogin(t *testing.T) {
	from := configfile.New("")
	from.AuthConfigs["ghcr.io"] = types.AuthConfig{Username: "me", Password: "secret"}
	from.AuthConfigs["https://index.docker.io/v1/"] = types.AuthConfig{Username: "hub", Password: "token"}
	from.AuthConfigs["other.example"] = types.AuthConfig{Username: "o", Password: "must not travel"}
	for host, want := range map[string]string{
		"ghcr.io":   `{"auths":{"ghcr.io":{"auth":"bWU6c2VjcmV0"}}}`,
		"docker.io": `{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnRva2Vu"}}}`,
	} {
		data, err := login(from, host)
		if err != nil || !json.Valid(data) || string(data) != want {
			t.Errorf("%s: %s, %v", host, data, err)
		}
	}
	if data, err := login(from, "nobody.example"); data != nil || err != nil {
		t.Errorf("a registry without credentials: %s, %v", data, err)
	}
}

// TestRunRefuses: what would be misread or do nothing is refused before anything is read or asked.
func TestRunRefuses(t *testing.T) {
	for args, says := range map[string]string{
		"train.py -a l4":                                 "-a comes after SOURCE",
		"--carry import train.py":                        "--carry import is not known",
		"--output-dir out --no-bootstrap --image i t.py": "no results come back with --no-bootstrap",
		"--output-dir out --results-auth none train.py":  "no results come back with --results-auth none",
		"--wait -1m train.py":                            "--wait -1m0s is in the past",
	} {
		app := newApp()
		app.Writer, app.ErrWriter = io.Discard, io.Discard
		var use *usage
		if err := app.Run(append([]string{"ibuild", "run"}, strings.Fields(args)...)); !errors.As(err, &use) || !strings.Contains(use.msg, says) || use.hint == "" {
			t.Errorf("%s: %v, want %q with a hint", args, err, says)
		}
	}
}

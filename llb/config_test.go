package llb

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

const baseConfig = `{"architecture":"arm64","os":"windows","config":{"User":"u","Env":["PATH=/b:/c","A=1"],"Entrypoint":["e"],"Cmd":["c"],
 "WorkingDir":"srv","Labels":{"l":"1"},"OnBuild":["RUN evil"],"Healthcheck":{"Test":["CMD","true"]}},
 "rootfs":{"type":"layers","diff_ids":["sha256:1"]},"history":[{"created_by":"base"}]}`

func parse(t *testing.T, data string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(data), amd64)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigSteps(t *testing.T) {
	for name, c := range map[string]struct {
		steps []Step
		want  func(*dockerspec.DockerOCIImageConfig)
	}{
		"none":                  {nil, func(*dockerspec.DockerOCIImageConfig) {}},
		"a new variable":        {[]Step{Env{Key: "B", Value: "a=b c"}}, func(c *dockerspec.DockerOCIImageConfig) { c.Env = append(c.Env, "B=a=b c") }},
		"a variable again":      {[]Step{Env{Key: "A", Value: ""}}, func(c *dockerspec.DockerOCIImageConfig) { c.Env[1] = "A=" }},
		"nothing is expanded":   {[]Step{Env{Key: "A", Value: "$PATH"}}, func(c *dockerspec.DockerOCIImageConfig) { c.Env[1] = "A=$PATH" }},
		"PATH":                  {[]Step{PathPrepend{Dir: "/x"}, PathPrepend{Dir: "/y"}}, func(c *dockerspec.DockerOCIImageConfig) { c.Env[0] = "PATH=/y:/x:/b:/c" }},
		"an empty PATH":         {[]Step{Env{Key: "PATH"}, PathPrepend{Dir: "/x"}}, func(c *dockerspec.DockerOCIImageConfig) { c.Env[0] = "PATH=/x:" + defaultPath }},
		"a relative workdir":    {[]Step{Workdir{Path: "a/../b"}, Workdir{Path: "c"}}, func(c *dockerspec.DockerOCIImageConfig) { c.WorkingDir = "/srv/b/c" }},
		"an absolute workdir":   {[]Step{Workdir{Path: "/a//b/"}}, func(c *dockerspec.DockerOCIImageConfig) { c.WorkingDir = "/a/b" }},
		"a workdir above":       {[]Step{Workdir{Path: "../../.."}}, func(c *dockerspec.DockerOCIImageConfig) { c.WorkingDir = "/" }},
		"a user":                {[]Step{User{Name: "1:2"}}, func(c *dockerspec.DockerOCIImageConfig) { c.User = "1:2" }},
		"no user":               {[]Step{User{}}, func(c *dockerspec.DockerOCIImageConfig) { c.User = "" }},
		"an entry point":        {[]Step{Entrypoint{Args: []string{"x", ""}}}, func(c *dockerspec.DockerOCIImageConfig) { c.Entrypoint, c.Cmd = []string{"x", ""}, nil }},
		"no entry point":        {[]Step{Entrypoint{Args: []string{}}}, func(c *dockerspec.DockerOCIImageConfig) { c.Entrypoint, c.Cmd = nil, nil }},
		"a command":             {[]Step{Cmd{Args: []string{"x"}}}, func(c *dockerspec.DockerOCIImageConfig) { c.Cmd = []string{"x"} }},
		"no command":            {[]Step{Cmd{}}, func(c *dockerspec.DockerOCIImageConfig) { c.Cmd = nil }},
		"a command comes after": {[]Step{Cmd{Args: []string{"x"}}, Entrypoint{Args: []string{"y"}}}, func(c *dockerspec.DockerOCIImageConfig) { c.Entrypoint, c.Cmd = []string{"y"}, nil }},
		"labels":                {[]Step{Label{Key: "l", Value: "2"}, Label{Key: "m"}}, func(c *dockerspec.DockerOCIImageConfig) { c.Labels = map[string]string{"l": "2", "m": ""} }},
		"files":                 {[]Step{Copy{Src: "a", Dst: "b"}, WriteFile{Dst: "c"}, Exec{Title: "x"}}, func(*dockerspec.DockerOCIImageConfig) {}},
	} {
		got, want := parse(t, baseConfig), parse(t, baseConfig)
		for _, s := range c.steps {
			got.Apply(s, nil)
		}
		c.want(&want.img.Config)
		if d := cmp.Diff(want.img.Config, got.img.Config); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if got.img.Architecture != "amd64" || got.img.OS != "linux" || len(got.img.Config.OnBuild) != 0 {
			t.Errorf("%s: the platform is %s/%s, ONBUILD %v", name, got.img.OS, got.img.Architecture, got.img.Config.OnBuild)
		}
	}
}

func TestHistory(t *testing.T) {
	c := parse(t, baseConfig)
	epoch := time.Unix(7, 0).UTC()
	for _, s := range []Step{
		Exec{Title: "run: x"}, Copy{Src: "a", Dst: "b"}, Copy{Src: "a", Dst: "b", Title: "mine"}, WriteFile{Dst: "c"}, WriteFile{Dst: "c", Title: "script"},
		Workdir{Path: "w"}, Env{Key: "A"}, User{}, Entrypoint{}, Cmd{}, Label{}, PathPrepend{},
	} {
		c.Apply(s, &epoch)
	}
	var got []string
	for _, h := range c.img.History[1:] {
		got = append(got, h.CreatedBy)
		if h.Created == nil || !h.Created.Equal(epoch) || h.Comment != "ibuild" || h.EmptyLayer {
			t.Errorf("%+v", h)
		}
	}
	if want := []string{"run: x", "copy: a to b", "mine", "write: c", "script", "workdir: w"}; !slices.Equal(got, want) {
		t.Errorf("history %q, want %q", got, want)
	}
	c.DropLayer()
	if n := len(c.img.History); n != 6 {
		t.Errorf("%d entries after one was dropped", n)
	}
}

func TestConfigBytes(t *testing.T) {
	a, err := parse(t, baseConfig).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := parse(t, string(a)).Marshal()
	if err != nil || string(a) != string(b) {
		t.Errorf("%v\n%s\n%s", err, a, b)
	}
	empty := parse(t, "")
	if v, ok := empty.Env("PATH"); ok || v != "" || empty.Workdir() != "/" || empty.Abs("a") != "/a" || empty.img.RootFS.Type != "layers" {
		t.Errorf("the empty image: %+v", empty.img)
	}
	for _, bad := range []string{"{", "[]", `{"config":1}`, `{"config":{"Env":"A=1"}}`, `{"created":"yesterday"}`} {
		if _, err := ParseConfig([]byte(bad), amd64); err == nil || !strings.HasPrefix(err.Error(), "image config: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	at := time.Unix(1, 0).UTC()
	empty.SetCreated(&at)
	data, err := empty.Marshal()
	if err != nil || !strings.Contains(string(data), `"created":"1970-01-01T00:00:01Z"`) {
		t.Errorf("%s, %v", data, err)
	}
	img := &dockerspec.DockerOCIImage{}
	EditConfig(img).Apply(Env{Key: "A", Value: "1"}, nil)
	if !slices.Equal(img.Config.Env, []string{"A=1"}) {
		t.Errorf("what is edited is %v", img.Config.Env)
	}
}

func TestWithLabels(t *testing.T) {
	img := sample(t.TempDir())
	plan := &Plan{Image: img}
	n := len(img.Steps)
	got := plan.WithLabels(map[string]string{"b": "2", "a": "1", "org.example": "3"})
	if len(img.Steps) != n || plan.Image != img || got.Image == img {
		t.Error("the plan was changed")
	}
	want := []Step{Label{Key: "a", Value: "1"}, Label{Key: "b", Value: "2"}, Label{Key: "org.example", Value: "3"}}
	if d := cmp.Diff(want, got.Image.Steps[n:]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	var config struct {
		Config struct{ Labels map[string]string }
	}
	if err := json.Unmarshal(record(t, got.Image, Options{}).Images[0].Config, &config); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"a": "1", "b": "2", "org.example": "3"}, config.Config.Labels); d != "" {
		t.Errorf("labels (-want +got):\n%s", d)
	}
	if p := plan.WithLabels(nil); p != plan {
		t.Error("no labels make another plan")
	}
	if p := (&Plan{}); p.WithLabels(map[string]string{"a": "1"}) != p {
		t.Error("a Dockerfile's labels are the frontend's")
	}
}

func TestMachineNames(t *testing.T) {
	m := Machine{Env: map[string]string{}, Files: map[string][]byte{}}
	for _, k := range MachineEnv() {
		m.Env[k] = k
	}
	for _, k := range machineFiles() {
		m.Files[k] = []byte(k)
	}
	ids := slices.Collect(maps.Keys(m.Secrets()))
	if len(ids) != len(MachineEnv())+len(machineFiles()) {
		t.Errorf("%d secrets for %d variables and %d files", len(ids), len(MachineEnv()), len(machineFiles()))
	}
	if !(Machine{}).Empty() || m.Empty() || MachineFile(MachineCA) != "/run/ibuild/machine/ca.crt" {
		t.Error("empty, or the path of a file")
	}
}

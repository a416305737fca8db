//go:build integration

package e2e

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/integration/imagetest"
)

// dockerfileExample is a folder of examples/dockerfiles and how it is built and run.
type dockerfileExample struct {
	dir       string
	file      string // Dockerfile when empty
	base      string // Dockerfile of the base that the argument BASE names
	args      map[string]string
	target    string
	secrets   map[string]string // values by id
	platforms []string
	run       imagetest.RunOptions
	want      map[string]string // what it prints, by platform
}

func amd(want string) map[string]string { return map[string]string{amd64: want} }

func dockerfileExamples() []dockerfileExample {
	shell := func(script string) imagetest.RunOptions {
		return imagetest.RunOptions{Entrypoint: []string{"sh", "-c", script}}
	}
	return []dockerfileExample{
		{dir: "01-health-server", run: shell("cat summary.txt about.txt && HOSTNAME=here cgi-bin/health | tail -n 1 && tail -n 1 index.html"),
			want: amd("pages: 2\nmade by a heredoc with a shell of its own\nok from here\n<p>alive</p>\n")},
		{dir: "02-multi-stage", run: imagetest.RunOptions{Args: []string{"the", "cat"}}, want: amd("the 1\ncat 7\n")},
		{dir: "02-multi-stage", target: "test", want: amd("tested\n")},
		{dir: "03-serve-model", run: imagetest.RunOptions{Args: []string{"--check"}}, want: amd("bottle 0.13.2 predicts 1.0\n")},
		{dir: "04-apt-tools", want: amd("loss: 4 to 0.5\naccuracy: 0.5 to 0.875\n")},
		{dir: "05-bind-mounts", want: amd("ant,1\ncat,2\nzebra,3\n3\n")},
		{dir: "06-secrets", secrets: map[string]string{"token": "the-token-of-the-test", "API_KEY": "the-key-of-the-test"},
			want: amd("weights\nlabels\noptional: none\n400 65534\n")},
		{dir: "07-train-args", args: map[string]string{"EPOCHS": "3", "MODEL": "mlp"},
			want: amd("epoch 1: a = 1.4000\nepoch 2: a = 1.8200\nepoch 3: a = 1.9460\n")},
		{dir: "08-onbuild", base: "base.Dockerfile", run: shell("python main.py --name you && cat inherited"),
			want: amd("hello  you\nof the stage below\n")},
		{dir: "09-two-platforms", platforms: []string{amd64, arm64}, want: map[string]string{
			amd64: "x86_64\nlinux/amd64\ntool for x86\n", arm64: "aarch64\nlinux/arm64\ntool for arm\n"}},
		{dir: "10-ignore-files", want: amd("./.dockerignore\n./Dockerfile\n./data/prepared.csv\n./data/raw/README.txt\n./notebooks/keep.ipynb\n./src/pkg/app.py\n")},
		{dir: "10-ignore-files", file: "train.Dockerfile",
			want: amd("./data/raw/numbers.csv\n./src/pkg/app.py\n/notebooks/draft.ipynb\n/notebooks/keep.ipynb\n/numbers.csv\n")},
	}
}

// name is for subtests and repositories.
func (x dockerfileExample) name() string {
	name := x.dir
	if x.target != "" {
		name += "-" + x.target
	}
	if x.file != "" {
		name += "-" + strings.ToLower(strings.TrimSuffix(x.file, ".Dockerfile"))
	}
	return name
}

// TestDockerfiles builds every example with every engine and with buildctl: images agree and do what they should.
func TestDockerfiles(t *testing.T) {
	seen := map[string]bool{}
	for _, x := range dockerfileExamples() {
		seen[x.dir] = true
		t.Run(x.name(), x.test)
	}
	entries, err := os.ReadDir(filepath.Join(shared.examples, "dockerfiles"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !seen[e.Name()] {
			t.Errorf("the example %s is not tested", e.Name())
		}
	}
}

func (x dockerfileExample) test(t *testing.T) {
	want := x.buildctl(t)
	platforms := x.platforms
	if platforms == nil {
		platforms = []string{amd64}
	} else {
		expectPlatforms(t, want, strings.Join(platforms, " "))
	}
	looks := map[string]look{}
	for _, p := range platforms {
		img := pull(t, want, p)
		looks[p] = lookInto(t, img)
		prints(t, img, x.run, x.want[p])
	}
	enginesAtOnce(t, engines(t), func(t *testing.T, e engine) {
		got := x.build(t, e)
		if x.platforms != nil {
			expectPlatforms(t, got, strings.Join(platforms, " "))
		}
		for _, p := range platforms {
			looks[p].same(t, pull(t, got, p))
		}
	})
}

// build builds the example with ibuild and looks for its secrets.
func (x dockerfileExample) build(t *testing.T, e engine) string {
	t.Helper()
	dir := filepath.Join(shared.examples, "dockerfiles", x.dir)
	var args []string
	if x.base != "" {
		args = append(args, "--build-arg", "BASE="+e.push(t, "dockerfiles/base-"+e.name, "-f", filepath.Join(dir, x.base), dir))
	}
	if x.file != "" {
		args = append(args, "-f", filepath.Join(dir, x.file))
	}
	if x.target != "" {
		args = append(args, "--target", x.target)
	}
	for _, k := range slices.Sorted(maps.Keys(x.args)) {
		args = append(args, "--build-arg", k+"="+x.args[k])
	}
	for id, file := range x.secretFiles(t) {
		args = append(args, "--secret", "id="+id+",src="+file)
	}
	for _, p := range x.platforms {
		args = append(args, "--platform", p)
	}
	ref := shared.env.Registry.Ref("dockerfiles/" + x.name() + "/" + e.name)
	o := e.ibuild(t, append(append([]string{"build", "--progress", "plain", "--push", "-t", ref}, args...), dir)...)
	for id, value := range x.secrets {
		keepsSecret(t, e, o, ref, id, value)
	}
	return ref
}

// keepsSecret looks for a secret's value in all that a build left.
func keepsSecret(t *testing.T, e engine, o outcome, ref, id, value string) {
	t.Helper()
	if where := holds(t, pull(t, ref, amd64), value); where != "" {
		t.Errorf("the value of the secret %s is in the image's %s", id, where)
	}
	if strings.Contains(o.stderr+o.stdout, value) {
		t.Errorf("the value of the secret %s was printed", id)
	}
	for _, dir := range []string{e.cache(), e.root()} {
		if file := fileWith(t, dir, value); file != "" {
			t.Errorf("the value of the secret %s is in %s", id, file)
		}
	}
}

func (x dockerfileExample) secretFiles(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for id, value := range x.secrets {
		found[id] = filepath.Join(files(t, id, value), id)
	}
	return found
}

// buildctl builds the example without any code of ibuild, on the remote builder.
func (x dockerfileExample) buildctl(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(shared.examples, "dockerfiles", x.dir)
	args := []string{"--local", "context=" + dir, "--local", "dockerfile=" + dir,
		"--opt", "cmdline=builtin"} // as ibuild does: no registry here has docker/dockerfile
	if x.base != "" {
		base := dockerfileExample{dir: x.dir, file: x.base}
		args = append(args, "--opt", "build-arg:BASE="+base.buildctl(t))
	}
	if x.file != "" {
		args = append(args, "--opt", "filename="+x.file)
	}
	if x.target != "" {
		args = append(args, "--opt", "target="+x.target)
	}
	for k, v := range x.args {
		args = append(args, "--opt", "build-arg:"+k+"="+v)
	}
	for id, file := range x.secretFiles(t) {
		args = append(args, "--secret", "id="+id+",src="+file)
	}
	if x.platforms != nil {
		args = append(args, "--opt", "platform="+strings.Join(x.platforms, ","))
	}
	ref := shared.env.Registry.Ref("dockerfiles/" + x.name() + "/buildctl")
	buildctl(t, ref, args...)
	return ref
}

// buildctl has the remote builder push an image that its own client asks for.
func buildctl(t *testing.T, ref string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeLimit)
	defer cancel()
	b := shared.env.Buildkitd
	args = append([]string{"--addr", b.Addr, "--tlscacert", b.CACert, "--tlscert", b.Cert, "--tlskey", b.Key, "build", "--progress", "plain",
		"--frontend", "dockerfile.v0", "--output", "type=image,name=" + ref + ",push=true,oci-mediatypes=true"}, args...)
	mustEnd(t, shared.env.Command(ctx, shared.env.User, shared.buildctl, args...))
}

package main

import (
	"bufio"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/ibuild/ibuild/settings"
	"github.com/urfave/cli/v2"
)

func TestBaseRepos(t *testing.T) {
	cases := []struct {
		text string
		want baseRepo
		err  string
	}{
		{text: "docker.io/me", want: baseRepo{name: "docker.io/me", host: "docker.io"}},
		{text: "me", want: baseRepo{name: "docker.io/me", host: "docker.io"}},
		{text: "ghcr.io/me/images/", want: baseRepo{name: "ghcr.io/me/images", host: "ghcr.io"}},
		{text: "us-docker.pkg.dev/p/r", want: baseRepo{name: "us-docker.pkg.dev/p/r", host: "us-docker.pkg.dev", location: "us", project: "p", repository: "r"}},
		{text: "europe-west4-docker.pkg.dev/p/r/deep/er", want: baseRepo{name: "europe-west4-docker.pkg.dev/p/r/deep/er", host: "europe-west4-docker.pkg.dev", location: "europe-west4", project: "p", repository: "r"}},
		{text: "us-docker.pkg.dev/example.com/p/r", want: baseRepo{name: "us-docker.pkg.dev/example.com/p/r", host: "us-docker.pkg.dev", location: "us", project: "example.com:p", repository: "r"}},
		{text: "us-docker.pkg.dev/p", err: "is not a repository of Artifact Registry"},
		{text: "us-docker.pkg.dev/example.com/p", err: "is not a repository of Artifact Registry"},
		{text: "us-python.pkg.dev/p/r", err: "is not a repository of Artifact Registry"},
		{text: "docker.io/Me", err: "is not a repository"},
		{text: "docker.io/me:1", err: "is not a repository"},
		{text: "", err: "is not a repository"},
	}
	for _, c := range cases {
		got, err := parseBaseRepo(c.text)
		if c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%s: %+v, %v", c.text, got, err)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want %q", c.text, err, c.err)
		}
	}
}

func TestBaseRepoCommands(t *testing.T) {
	r, err := parseBaseRepo("us-docker.pkg.dev/p/r")
	if err != nil {
		t.Fatal(err)
	}
	create := "gcloud artifacts repositories create r --project=p --location=us --repository-format=docker"
	login := "gcloud auth configure-docker us-docker.pkg.dev"
	push := `gcloud artifacts repositories add-iam-policy-binding r --project=p --location=us --role=roles/artifactregistry.writer --member="user:$(gcloud config get-value account)"`
	pull := "gcloud artifacts repositories add-iam-policy-binding r --project=p --location=us --role=roles/artifactregistry.reader --member=serviceAccount:"
	if diff := cmp.Diff([]string{create, login, push, pull + "NODE_SERVICE_ACCOUNT"}, r.commands("", "")); diff != "" {
		t.Error(diff)
	}
	nodes := "NODES=$(gcloud container clusters list --project=other --filter=name=train --format='value(nodeConfig.serviceAccount)')"
	usual := `[ "$NODES" != default ] || NODES=$(gcloud projects describe other --format='value(projectNumber)')-compute@developer.gserviceaccount.com`
	if diff := cmp.Diff([]string{create, login, push, nodes, usual, pull + `"$NODES"`}, r.commands("other", "train")); diff != "" {
		t.Error(diff)
	}
	if hub, _ := parseBaseRepo("docker.io/me"); hub.commands("p", "c") != nil {
		t.Error("there are commands of Google Cloud for Docker Hub")
	}
}

func TestBaseTag(t *testing.T) {
	before := version
	defer func() { version = before }()
	for text, want := range map[string]string{"v1.2.3": "v1.2.3", "v10.0.12": "v10.0.12", "dev": "latest", "v1.2.3-4-gabc": "latest", "74b8bca-dirty": "latest", "v1..3": "latest", "1.2.3": "latest", "": "latest"} {
		if version = text; baseTag() != want {
			t.Errorf("%q: %s, want %s", text, baseTag(), want)
		}
	}
}

func TestPlainNames(t *testing.T) {
	for text, want := range map[string]bool{"my-project": true, "example.com:p": true, "1a_b": true, "": false, "-p": false, "a b": false, "$(x)": false, "A": false, "a;b": false, "a\nb": false} {
		if plainName(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

func TestCategories(t *testing.T) {
	all, err := categories(nil)
	if err != nil || !slices.Equal(all, []gke.Kind{gke.CPU, gke.GPU, gke.TPU}) {
		t.Errorf("%v, %v", all, err)
	}
	two, err := categories([]string{"TPU", "gpu", "tpu"})
	if err != nil || !slices.Equal(two, []gke.Kind{gke.TPU, gke.GPU}) {
		t.Errorf("%v, %v", two, err)
	}
	if _, err := categories([]string{"npu"}); err == nil {
		t.Error("npu is a category")
	}
}

// asking is build-image with somebody who answers, and a docker config file.
func asking(t *testing.T, config string, answers []string, args ...string) (*baseImages, *strings.Builder) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	cf := configfile.New(file)
	if config != "" {
		if err := cf.LoadFromReader(strings.NewReader(config)); err != nil {
			t.Fatal(err)
		}
	}
	set := flag.NewFlagSet("build-image", flag.ContinueOnError)
	for _, f := range buildImageFlags() {
		if err := f.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	a := &asker{there: answers != nil, in: bufio.NewScanner(strings.NewReader(strings.Join(answers, "\n") + "\n")), out: &out, silent: func() func() {
		out.WriteString("<silent>")
		return func() { out.WriteString("<echo>") }
	}}
	return &baseImages{house: &house{credentials: cf}, cli: cli.NewContext(cli.NewApp(), set, nil), mode: "quiet", asker: a}, &out
}

func TestAskedRepo(t *testing.T) {
	t.Setenv("GOOGLE_CLOUD_PROJECT", "")
	t.Setenv("CLOUDSDK_CORE_PROJECT", "")
	cases := map[string]struct {
		answers []string
		args    []string
		want    string
	}{
		"docker hub":                 {[]string{"1", "me"}, nil, "docker.io/me"},
		"artifact registry":          {[]string{"", "my-project", "", ""}, nil, "us-docker.pkg.dev/my-project/ibuild"},
		"the project of the flag":    {[]string{"2", "", "europe-west4", "imgs"}, []string{"--project", "p1"}, "europe-west4-docker.pkg.dev/p1/imgs"},
		"after an answer that is no": {[]string{"7", "1", "$(x)", "me"}, nil, "docker.io/me"},
		"another one":                {[]string{"3", "UP UP", "ghcr.io/me"}, nil, "ghcr.io/me"},
		"of a domain":                {[]string{"2", "example.com:p", "", ""}, nil, "us-docker.pkg.dev/example.com/p/ibuild"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b, out := asking(t, "", c.answers, c.args...)
			if err := b.chooseRepo(); err != nil || b.repo.name != c.want {
				t.Errorf("%q, %v\n%s", b.repo.name, err, out)
			}
		})
	}
	b, _ := asking(t, "", nil)
	if err := b.chooseRepo(); err == nil || !strings.Contains(err.Error(), "not said where") {
		t.Errorf("nobody is asked: %v", err)
	}
	b, _ = asking(t, "", []string{"1"})
	if err := b.chooseRepo(); err == nil || !strings.Contains(err.Error(), "standard input has ended") {
		t.Errorf("no more answers: %v", err)
	}
}

// TestHubCredentials asks for a token once, keeps it where docker does, and never shows it.
func TestHubCredentials(t *testing.T) {
	hub := baseRepo{name: "docker.io/me", host: "docker.io"}
	b, out := asking(t, "", []string{"", "s3cret"})
	b.repo = hub
	if err := b.checkCredentials(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "<silent><echo>") || strings.Contains(out.String(), "s3cret") || !strings.Contains(out.String(), "kept in "+b.credentials.Filename) {
		t.Errorf("it says:\n%s", out)
	}
	kept, err := b.credentials.GetAuthConfig(hubServer)
	if err != nil || kept.Username != "me" || kept.Password != "s3cret" {
		t.Errorf("kept: %+v, %v", kept, err)
	}
	info, err := os.Stat(b.credentials.Filename)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	config, err := os.ReadFile(b.credentials.Filename)
	if err != nil {
		t.Fatal(err)
	}
	again, out := asking(t, string(config), []string{})
	again.repo = hub
	if err := again.checkCredentials(); err != nil || out.Len() > 0 {
		t.Errorf("it asks again: %v\n%s", err, out)
	}
	other, _ := asking(t, string(config), []string{"you", "other"}, "--update-credentials")
	other.repo = hub
	if err := other.checkCredentials(); err != nil {
		t.Fatal(err)
	}
	if kept, _ := other.credentials.GetAuthConfig(hubServer); kept.Username != "you" || kept.Password != "other" {
		t.Errorf("after --update-credentials: %+v", kept)
	}
	none, _ := asking(t, "", nil)
	none.repo = hub
	if err := none.checkCredentials(); err == nil || !strings.Contains(err.Error(), "no credentials of Docker Hub") {
		t.Errorf("nobody is asked: %v", err)
	}
	elsewhere, _ := asking(t, "", nil, "--update-credentials")
	elsewhere.repo = baseRepo{name: "ghcr.io/me", host: "ghcr.io"}
	if err := elsewhere.checkCredentials(); err == nil {
		t.Error("--update-credentials is taken for another registry")
	}
}

func TestConfirm(t *testing.T) {
	for answer, want := range map[string]string{"y": "", "YES": "", "n": "nothing was built", "": "nothing was built"} {
		b, _ := asking(t, "", []string{answer})
		err := b.asker.confirm("Build")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", answer, err)
		}
	}
	b, _ := asking(t, "", nil)
	if err := b.asker.confirm("Build"); err == nil || !strings.Contains(err.Error(), "nobody is there") {
		t.Errorf("nobody: %v", err)
	}
}

// TestBasePlans plans every image of build-image, and the user's Dockerfile.
func TestBasePlans(t *testing.T) {
	inFolder(t, map[string]string{"base/Dockerfile": "FROM scratch\nARG CATEGORY\n"})
	list := func(args ...string) ([]baseImage, error) {
		b, _ := asking(t, "", nil, args...)
		b.repo = baseRepo{name: "ghcr.io/me", host: "ghcr.io"}
		b.house.settings = &settings.Config{}
		err := b.planAll()
		return b.list, err
	}
	images, err := list("--tag", "v1")
	if err != nil || len(images) != 3 || images[1].name.String() != "ghcr.io/me/base-gpu:v1" || len(images[1].plan.Platforms) != 2 || len(images[2].plan.Platforms) != 1 {
		t.Errorf("%+v, %v", images, err)
	}
	images, err = list("--dockerfile", "base/Dockerfile", "--category", "gpu")
	if err != nil || len(images) != 1 || images[0].plan.Attrs["build-arg:CATEGORY"] != "gpu" || len(images[0].plan.Platforms) != 1 {
		t.Errorf("%+v, %v", images, err)
	}
	for _, args := range [][]string{{"--tag", "a b"}, {"--category", "x"}, {"--dockerfile", "missing/Dockerfile"}, {"--dockerfile", "base/Dockerfile", "--python", "3.12"}, {"--python", "2.7"}, {"--platform", "windows"}} {
		if _, err := list(args...); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

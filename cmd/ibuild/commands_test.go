package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/engine/embed"
	"github.com/ibuild/ibuild/engine/remote"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/registry"
	"github.com/ibuild/ibuild/settings"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMetadata(t *testing.T) {
	d := ocispecs.Descriptor{MediaType: "m", Digest: "sha256:1", Size: 2}
	for name, c := range map[string]struct {
		res  engine.Result
		want string
	}{
		"pushed": {engine.Result{Descriptor: d, ConfigDigest: "sha256:3", Names: []string{"a:1", "b:2"}},
			`{"containerimage.config.digest":"sha256:3","containerimage.descriptor":{"mediaType":"m","digest":"sha256:1","size":2},"containerimage.digest":"sha256:1","image.name":"a:1,b:2"}`},
		"an index": {engine.Result{Descriptor: d}, `{"containerimage.descriptor":{"mediaType":"m","digest":"sha256:1","size":2},"containerimage.digest":"sha256:1"}`},
		"no image": {engine.Result{}, `{}`},
		"pushed by ibuild": {engine.Result{Transferred: &registry.Transferred{Sent: 7, Moved: registry.Tally{Blobs: 1, Bytes: 7}}},
			`{"ibuild.network":{"sentBytes":7,"fetchedBytes":0,"moved":{"blobs":1,"bytes":7},"there":{"blobs":0,"bytes":0},"mounted":{"blobs":0,"bytes":0}}}`},
	} {
		data, err := json.Marshal(metadata(&c.res))
		if err != nil || string(data) != c.want {
			t.Errorf("%s: %s, %v\nwant %s", name, data, err, c.want)
		}
	}
}

// ibuild runs a command line in this process, with a home of its own and no builder in reach.
func ibuild(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("IBUILD_CACHE", t.TempDir())
	t.Setenv("BUILDKIT_HOST", "unix:///nonexistent/ibuild-test.sock")
	t.Setenv("GITHUB_ACTIONS", "")
	app := newApp()
	var stdout, stderr bytes.Buffer
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(stdin), &stdout, &stderr
	code = report(&stderr, app.RunContext(t.Context(), append([]string{"ibuild"}, args...)))
	return code, stdout.String(), stderr.String()
}

// run is [ibuild] for what goes wrong.
func run(t *testing.T, args ...string) (code int, errs string) {
	t.Helper()
	code, _, errs = ibuild(t, "", args...)
	return code, errs
}

func TestCommandLines(t *testing.T) {
	dir := t.TempDir()
	docker, multi, secret := filepath.Join(dir, "docker"), filepath.Join(dir, "x.tar"), filepath.Join(dir, "image.yaml")
	for name, data := range map[string]string{docker + "/Dockerfile": "FROM scratch\n", secret: "base_image: debian:12\nlayers:\n  - run: x\n    secrets: [{id: ibuild-none}]\n"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"build"}, 2, "ERROR: the source is missing\nhint:  write ibuild build [flags] SOURCE\n"},
		{[]string{"build", docker, "-t", "x"}, 2, "ERROR: the flag -t comes after " + docker + "\nhint:  flags go first: ibuild build [flags] SOURCE\n"},
		{[]string{"build", docker, "other"}, 2, "ERROR: ibuild build takes one argument: got " + docker + " other\nhint:  write ibuild build [flags] SOURCE\n"},
		{[]string{"build", "--tga", "x", docker}, 2, "ERROR: there is no flag --tga\nhint:  did you mean --tag?\n"},
		{[]string{"build", "--platfrom=linux/amd64", docker}, 2, "did you mean --platform?"},
		{[]string{"build", "--xyzzyxyzzy", docker}, 2, "ERROR: there is no flag --xyzzyxyzzy\nhint:  see ibuild build --help\n"},
		{[]string{"llb", "-t", "x", docker}, 2, "ERROR: there is no flag -t\nhint:  see ibuild llb --help\n"},
		{[]string{"llb", "--tls-ca", "x", docker}, 2, "ERROR: there is no flag --tls-ca\n"},
		{[]string{"build", "--config", "x", docker}, 2, "ERROR: there is no flag --config\nhint:  it goes before the command: ibuild --config … build\n"},
		{[]string{"build", "--load", docker}, 2, "ERROR: --load is not supported yet\nhint:  leave it out, or use docker buildx for this build\n"},
		{[]string{"build", "--cache-from=type=gha,url=http://x,token=", docker}, 2, "ERROR: --cache-from: type=gha needs token, and ACTIONS_RUNTIME_TOKEN is not set\n"},
		{[]string{"build", "--cache-to=type=local,det=x", docker}, 2, "ERROR: --cache-to: field 2: a cache of type local has no \"det\"\nhint:  did you mean dest?\n"},
		{[]string{"build", "--cache-to=type=inline", docker}, 2, "ERROR: --cache-to type=inline puts the cache into the image, and no image is asked for\n"},
		{[]string{"build", "--cache-strict", docker}, 2, "ERROR: --cache-strict is about --cache-to, which is missing\n"},
		{[]string{"build", "--builder", "noop", "--cache-from", "a/b", docker}, 2, "ERROR: the builder noop runs no steps, so it neither reads nor writes caches\n"},
		{[]string{"build", "--ssh", "default", docker}, 2, "ERROR: --ssh is not supported yet"},
		{[]string{"build", "--tag"}, 2, "ERROR: --tag needs a value\nhint:  see ibuild build --help\n"},
		{[]string{"build", "--env-repo", "r/x:tag", docker}, 2, "ERROR: --env-repo r/x:tag is not a repository\nhint:  write [registry/]name"},
		{[]string{"build", "--env-repo", "R/X", docker}, 2, "ERROR: --env-repo R/X is not a repository"},
		{[]string{"build", "--push", docker}, 2, "ERROR: --push needs a name\nhint:  add -t REGISTRY/NAME[:TAG]\n"},
		{[]string{"build", "--platform", "linux/amd64,linux/arm64", "-o", "type=docker,dest=" + multi, docker}, 2, "ERROR: -o type=docker holds one platform\nhint:  take type=oci, or one --platform\n"},
		{[]string{"build", "--platform", "linux/amd46", docker}, 2, "did you mean linux/amd64?"},
		{[]string{"build", "--progress", "fancy", docker}, 2, "auto, tty, plain, quiet or rawjson"},
		{[]string{"build", "--label", "x", docker}, 2, "ERROR: --label x: write KEY=VALUE\n"},
		{[]string{"build", filepath.Join(dir, "none")}, 2, "there is no such file or folder"},
		{[]string{"build", dir + "/docker/none"}, 2, "there is no such file or folder"},
		{[]string{"build", "--frontend", "dokerfile", docker}, 2, "did you mean dockerfile?"},
		{[]string{"llb", "--format", "png", docker}, 2, "ERROR: --format cannot be \"png\"\nhint:  write json, dot or svg\n"},
		{[]string{"build", "--builder", "cloudbuild", docker}, 2, "ERROR: the builder cloudbuild (asked for by --builder or IBUILD_BUILDER) cannot be used: it comes with a later version\nhint:  name another with --builder: remote, local, noop\n"},
		{[]string{"build", "--builder", "remtoe", docker}, 2, "did you mean remote?"},
		{[]string{"build", "--builder", "buildkitd:1234", docker}, 2, "hint:  "},
		{[]string{"build", "--builder", "noop", docker}, 2, "takes the base image as it is, and "},
		{[]string{"build", "--builder", "noop", "--push", "-t", "x", secret}, 2, "secret"},
		{[]string{"lock"}, 2, "the source is missing"},
		{[]string{"lock", "--update", "--check", docker}, 2, "ERROR: --check writes nothing, so there is nothing to --update\nhint:  give one of them\n"},
		{[]string{"lock", "--no-lock", docker}, 2, "ERROR: there is no flag --no-lock\n"},
		{[]string{"exists", "--format", "yaml", docker}, 2, "ERROR: --format cannot be \"yaml\"\nhint:  write text or json\n"},
		{[]string{"exists", docker}, 2, "names no image\nhint:  add -t REGISTRY/NAME[:TAG]\n"},
		{[]string{"exists", "Not/A/Name"}, 2, "ERROR: Not/A/Name is no file or folder, and no name of an image"},
		{[]string{"exists", "-t", "x", "ghcr.io/me/app"}, 2, "ERROR: -t is for a source"},
		{[]string{"llb"}, 2, "the source is missing"},
		{[]string{"exec"}, 2, "ERROR: the command to run is missing\nhint:  write ibuild exec [flags] -- COMMAND [ARGUMENT...]\n"},
		{[]string{"exec", "--addr", "tcp://x:1", "--", "true"}, 2, "ERROR: --addr tcp://x:1: only sockets can be served\nhint:  write unix:///absolute/path\n"},
		{[]string{"exec", "--addr", "unix://relative", "--", "true"}, 2, "only sockets can be served"},
		{[]string{"--config", filepath.Join(dir, "none.toml"), "build", docker}, 2, "none.toml"},
		{[]string{"--nosuch", "build", docker}, 2, "ERROR: there is no flag --nosuch\nhint:  see ibuild --help\n"},
		{[]string{"bild", docker}, 2, "ERROR: ibuild has no command \"bild\"\nhint:  did you mean ibuild build?\n"},
		{[]string{"doctor", "--try-push", "ghcr.io/me/app:1"}, 2, "ERROR: --try-push ghcr.io/me/app:1 is not a repository\nhint:  write [registry/]name in lower case and without a tag, e.g. ghcr.io/me/train\n"},
		{[]string{"doctor", "x"}, 2, "ERROR: ibuild doctor takes no arguments: got x\n"},
		{[]string{"help"}, 2, "hint:  the commands are build, run, jobs, exists, lock, llb, spec, explain, history, inspect, verify, copy, save, load, cache, exec, accelerators, build-image, status, doctor; see ibuild --help\n"},
		{[]string{"--help"}, 0, ""}, {[]string{"build", "--help"}, 0, ""}, {[]string{"--version"}, 0, ""}, {nil, 0, ""},
	} {
		t.Run(strings.ReplaceAll(strings.Join(c.args, " "), dir, ""), func(t *testing.T) {
			code, text := run(t, c.args...)
			if code != c.code || !strings.Contains(text, c.want) || code == 0 && text != "" {
				t.Errorf("code %d, want %d\ngot  %q\nwant %q", code, c.code, text, c.want)
			}
		})
	}
}

// TestHelp: one flag has one meaning and the same words in all commands, and a word for its value.
func TestHelp(t *testing.T) {
	different := []string{"format", "output", "force", "platform", "all", "name", "python", "quiet", "dry-run", "repo", "tag"} // their values are the command's own
	words := map[string]string{}
	var look func(list []*cli.Command)
	look = func(list []*cli.Command) {
		for _, cmd := range list {
			look(cmd.Subcommands)
			if len(cmd.Flags) > 0 && !strings.Contains(cmd.Description, "\nExit codes: 0") && !strings.Contains(cmd.Description, "\nExit codes: the command's own") && !strings.Contains(cmd.Description, "\nExit codes: the program's own") {
				t.Errorf("%s does not say its exit codes", cmd.Name)
			}
			for _, f := range cmd.Flags {
				name, said := f.Names()[0], f.(cli.DocGenerationFlag)
				if said.TakesValue() && strings.Count(said.GetUsage(), "`") != 2 {
					t.Errorf("%s --%s has no word for its value", cmd.Name, name)
				}
				if other, ok := words[name]; ok && other != said.GetUsage() && !slices.Contains(different, name) {
					t.Errorf("%s --%s: %q, and elsewhere %q", cmd.Name, name, said.GetUsage(), other)
				}
				words[name] = said.GetUsage()
			}
		}
	}
	look(newApp().Commands)
	for _, args := range []string{"", "build", "spec", "spec show"} {
		code, out, _ := ibuild(t, "", append(strings.Fields(args), "--help")...)
		if code != 0 || !strings.Contains(out, " [flags] ") || !strings.Contains(out, "FLAGS:\n") || strings.Contains(out, "OPTIONS") || strings.Contains(out, "options]") || strings.Contains(out, "default: false") {
			t.Errorf("%q: %d\n%s", args, code, out)
		}
	}
}

func TestExitCodes(t *testing.T) {
	at := &errdefs.Source{Info: &pb.SourceInfo{Filename: "Dockerfile", Data: []byte("FROM x\nRUN y\n")}, Ranges: []*pb.Range{{Start: &pb.Position{Line: 2}, End: &pb.Position{Line: 2}}}}
	step := func(command string) error {
		return fmt.Errorf("failed to solve: %w", errdefs.WithSource(errors.New(`process "`+command+`" did not complete successfully: exit code: 1`), at))
	}
	for name, c := range map[string]struct {
		err  error
		code int
		want string // in what people see
	}{
		"none":              {nil, 0, ""},
		"usage":             {&usage{msg: "m", hint: "h"}, 2, "ERROR: m\nhint:  h\n"},
		"a finding":         {&source.Error{File: "f", Line: 1, Msg: "m", Hint: "h"}, 2, "ERROR: f:1: m; h\n"},
		"several findings":  {source.Errors{{File: "f", Line: 1, Msg: "m"}, {File: "f", Line: 2, Msg: "n"}}, 2, "ERROR: f:1: m\nERROR: f:2: n\n"},
		"a refused source":  {&engine.SourceError{Err: errors.New("bad")}, 2, "ERROR: bad\n"},
		"the config":        {&settings.Error{}, 2, ""},
		"a platform":        {fmt.Errorf("base: %w", &registry.PlatformError{Ref: "r", Want: ocispecs.Platform{OS: "linux", Architecture: "s390x"}}), 2, "hint:  choose one of these platforms"},
		"credentials":       {fmt.Errorf("push: %w", &registry.Error{Kind: registry.ErrDenied, Ref: "r", Msg: "m", Hint: "log in"}), 3, "hint:  log in\n"},
		"no registry":       {&registry.Error{Kind: registry.ErrUnreachable, Ref: "r", Msg: "m", Hint: "h"}, 4, "ERROR: r: out of reach: m\nhint:  h\n"},
		"no image":          {&registry.Error{Kind: registry.ErrNotFound, Ref: "r", Msg: "m"}, 1, "ERROR: r: not found: m\n"},
		"a bad answer":      {&registry.Error{Kind: registry.ErrBadAnswer, Ref: "r", Msg: "m"}, 1, "ERROR: r: bad answer: m\n"},
		"locked":            {&embed.LockedError{Root: "/r", Hint: "wait"}, 4, "hint:  wait\n"},
		"setup":             {&embed.SetupError{Problem: "no runc", Hint: "apt-get install runc"}, 4, "ERROR: no runc\nhint:  apt-get install runc\n"},
		"an address":        {&remote.ConfigError{Problem: "p", Hint: "h"}, 2, "ERROR: p\nhint:  h\n"},
		"no builder":        {&remote.UnreachableError{Addr: "tcp://x:1", Cause: errors.New("refused"), Hint: "h"}, 4, "ERROR: the builder at tcp://x:1 cannot be reached: refused\nhint:  h\n"},
		"no such builder":   {&engine.BuilderError{Msg: "m", Hint: "h"}, 2, "ERROR: m\nhint:  h\n"},
		"no identity":       {&engine.VolatileError{Source: "https://x"}, 2, "hint:  give the image a name with a tag"},
		"cannot tell":       {&engine.UnknownError{Names: "n", Reason: "r"}, 4, "ERROR: cannot tell whether n exists: r\nhint:  without --fail-fast"},
		"cancelled":         {context.Canceled, 130, "ERROR: cancelled\n"},
		"cancelled inside":  {fmt.Errorf("push: %w", context.Canceled), 130, "ERROR: cancelled\n"},
		"a child":           {&childExit{code: 42}, 42, ""},
		"a child of none":   {&childExit{code: 0}, 0, ""},
		"a step":            {step("/bin/sh -c make"), 1, "Dockerfile:2"},
		"a lost builder":    {status.Error(codes.Unavailable, "transport is closing"), 4, "try again"},
		"a refused push":    {errors.New("failed to solve: push: unexpected status: 403 Forbidden"), 3, "docker login"},
		"a refused pull":    {errors.New("failed to solve: x: failed to authorize: insufficient_scope: authorization failed"), 3, "docker login"},
		"a refused dial":    {errors.New("failed to solve: dial tcp 127.0.0.1:5000: connect: connection refused"), 4, "try again"},
		"an unknown host":   {errors.New("failed to solve: failed to do request: Head \"https://r/v2/\": dial tcp: lookup r: no such host"), 4, ""},
		"a timeout":         {fmt.Errorf("failed to solve: %w", context.DeadlineExceeded), 4, ""},
		"an overloaded one": {errors.New("failed to solve: unexpected status from HEAD request to https://r/v2/x: 503 Service Unavailable"), 4, ""},
		// what a step is called and says is not what happened
		"a step about refusals":   {step("/bin/sh -c grep 'connection refused' log"), 1, ""},
		"a step about 403":        {step("/bin/sh -c curl -f x || echo 403 Forbidden"), 1, ""},
		"a step about logins":     {step("/bin/sh -c echo insufficient_scope"), 1, ""},
		"anything else":           {errors.New("failed to solve: boom"), 1, "ERROR: boom\n"},
		"a message of two lines":  {errors.New("a\nb\n"), 1, "ERROR: a\nERROR: b\n"},
		"an exit code of the cli": {cli.Exit("x", 7), 7, "ERROR: x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			code := report(&out, c.err)
			if code != c.code || !strings.Contains(out.String(), c.want) {
				t.Errorf("code %d, want %d\ngot  %q\nwant %q", code, c.code, out.String(), c.want)
			}
			if strings.Contains(out.String(), "failed to solve") {
				t.Errorf("BuildKit's prefix is shown: %q", out.String())
			}
		})
	}
}

// A hostile base or Dockerfile cannot write to the terminal what it wants.
func TestReportEscapes(t *testing.T) {
	var out bytes.Buffer
	report(&out, errors.New("failed to solve: step \x1b]0;owned\x07 \x1b[2J failed"))
	if strings.ContainsAny(out.String(), "\x1b\x07") {
		t.Errorf("control characters reach the terminal: %q", out.String())
	}
}

func TestQuietFailures(t *testing.T) {
	a, b := digest.FromString("a"), digest.FromString("b")
	var logs []*client.VertexLog
	for i := range 30 {
		logs = append(logs, &client.VertexLog{Vertex: a, Data: fmt.Appendf(nil, "line %d\n", i)})
	}
	ch := make(chan *client.SolveStatus, 10)
	ch <- &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: a, Name: "make"}, {Digest: b, Name: "other"}}}
	ch <- &client.SolveStatus{Logs: append(logs, &client.VertexLog{Vertex: b, Data: []byte("of the other")})}
	ch <- &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: a, Name: "make", Error: "exit code: 1"}}}
	ch <- &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: a, Name: "make", Error: "exit code: 1"}}} // said again
	ch <- &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: b, Name: "other", Error: "rpc error: context canceled"}}}
	close(ch)
	var out bytes.Buffer
	if err := failures(&out, ch); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("------\n > make:\n")
	for i := 20; i < 30; i++ {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	want.WriteString("------\n")
	if out.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want.String())
	}
}

// A build that works says nothing in quiet mode.
func TestQuietSuccess(t *testing.T) {
	ch := make(chan *client.SolveStatus, 2)
	ch <- &client.SolveStatus{Vertexes: []*client.Vertex{{Name: "make"}}, Logs: []*client.VertexLog{{Data: []byte("x\n")}}}
	close(ch)
	var out bytes.Buffer
	if err := failures(&out, ch); err != nil || out.Len() > 0 {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestOrderTexts(t *testing.T) {
	o := &order{job: &job{}}
	if got := o.forPlatforms(); got != "" {
		t.Errorf("%q", got)
	}
	o.req.Options.Platforms = []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	if got := o.forPlatforms(); got != " for linux/amd64, linux/arm64" {
		t.Errorf("%q", got)
	}
	if first("", "a", "b") != "a" || first() != "" {
		t.Error("first")
	}
}

func TestDoctorPrints(t *testing.T) {
	var out bytes.Buffer
	d := &checkup{out: &out}
	d.ok("a", "x %d", 1)
	d.note("b", "one\ntwo")
	if d.bad {
		t.Error("a note is bad")
	}
	d.fail("c", &embed.SetupError{Problem: "no runc", Hint: "apt-get install runc"})
	want := "ok    a            x 1\nnote  b            one\n                   two\nFAIL  c            no runc\n                   fix: apt-get install runc\n"
	if !d.bad || out.String() != want {
		t.Errorf("bad %v, got\n%s\nwant\n%s", d.bad, out.String(), want)
	}
}

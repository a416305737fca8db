package main

import (
	"bytes"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
	"github.com/ibuild/ibuild/settings"
	"github.com/urfave/cli/v2"
)

// flags is a command line with these flags set.
func flags(t *testing.T, list []cli.Flag, args ...string) *cli.Context {
	t.Helper()
	set := flag.NewFlagSet("test", flag.ContinueOnError)
	for _, f := range list {
		if err := f.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return cli.NewContext(newApp(), set, nil)
}

func TestSwitches(t *testing.T) {
	switches := map[string][]string{"force": {"IBUILD_FORCE", "FLYTE_FORCE_PUSH_IMAGE_SPEC"}, "fail-fast": {"IBUILD_FAIL_FAST", "FLYTE_IMG_FAST_FAIL"}}
	for value, want := range map[string]bool{"": false, "0": false, "False": false, "no": false, "off": false, "1": true, "TRUE": true, "true": true, "yes": true, "On": true, " 1 ": true} {
		for name, variables := range switches {
			for _, variable := range variables {
				t.Run(variable+"="+value, func(t *testing.T) {
					t.Setenv(variable, value)
					if got, err := readSwitch(flags(t, buildFlags()), name, variables...); err != nil || got != want {
						t.Errorf("%v, %v", got, err)
					}
				})
			}
		}
	}
	t.Setenv("FLYTE_IMG_FAST_FAIL", "maybe")
	_, err := readSwitch(flags(t, buildFlags()), "fail-fast", "IBUILD_FAIL_FAST", "FLYTE_IMG_FAST_FAIL")
	if got := usageOf(t, err); got != "FLYTE_IMG_FAST_FAIL=maybe is neither yes nor no | write FLYTE_IMG_FAST_FAIL=1 or FLYTE_IMG_FAST_FAIL=0" {
		t.Error(got)
	}
	// what the command line says goes first, in both directions
	t.Setenv("FLYTE_IMG_FAST_FAIL", "1")
	if got, err := readSwitch(flags(t, buildFlags(), "--fail-fast=false"), "fail-fast", "FLYTE_IMG_FAST_FAIL"); err != nil || got {
		t.Errorf("%v, %v", got, err)
	}
}

func TestReadNames(t *testing.T) {
	for _, c := range []struct {
		tags        []string
		tag, format string
		want        string
	}{
		{nil, "", "", ""},
		{[]string{"app"}, "", "", "docker.io/library/app:latest"},
		{[]string{"app"}, "ghcr.io/me/app", "", "docker.io/library/app:latest"},
		{nil, "ghcr.io/me/app:v1", "", "ghcr.io/me/app:v1"},
		{nil, "ghcr.io/me/app", "", "ghcr.io/me/app:{}"},
		{nil, "ghcr.io/me/app", "{spec_hash}-dev", "ghcr.io/me/app:{{spec_hash}-dev}"},
		{nil, "docker.io/me/app", "", "docker.io/me/app:{}"},
		{nil, "me/app", "", "docker.io/me/app:{}"}, // a registry that is only a user's name is Docker Hub
		{nil, "ghcr.io/me/app:v1", "{spec_hash}", "s: the name ghcr.io/me/app:v1 has a tag, and there is a format for tags, too | give one of them"},
		{nil, "ghcr.io/me/app", "dev", `s: the tag format "dev" has no {spec_hash}, so the tag would stay when the image changes | write e.g. {spec_hash}-dev`},
		{nil, "me/App", "", "s: the name me/App: invalid reference format: repository name (me/App) must be lowercase | write [registry/]name[:tag] in lower case, e.g. ghcr.io/me/train:v1"},
		{nil, "app@sha256:" + strings.Repeat("0", 64), "", "-t app@sha256:" + strings.Repeat("0", 64) + ": a name for a new image has a tag, not a digest"},
	} {
		var args []string
		for _, tag := range c.tags {
			args = append(args, "-t", tag)
		}
		var out engine.Outputs
		err := readNames(flags(t, buildFlags(), args...), &llb.Plan{Name: "s", Tag: c.tag, TagFormat: c.format}, &out)
		var got []string
		if err != nil {
			got = []string{usageOf(t, err)}
		}
		for _, n := range out.Names {
			got = append(got, n.String())
		}
		for _, n := range out.ByIdentity {
			got = append(got, n.Name.String()+":{"+n.Format+"}")
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: got  %q", c, got)
		}
	}
}

func TestWarn(t *testing.T) {
	plan := &llb.Plan{Warnings: []error{&source.Error{File: "image.yaml", Line: 3, Column: 7, Msg: "old", Hint: "new"}, errors.New("a\x1b[2Jb")}}
	for mode, want := range map[string]string{"auto": "warning: image.yaml:3:7: old; new\nwarning: a\ufffd[2Jb\n", "": "warning: image.yaml:3:7: old; new\nwarning: a\ufffd[2Jb\n", "quiet": "", "rawjson": ""} {
		var out bytes.Buffer
		warn(&out, mode, plan)
		if out.String() != want {
			t.Errorf("%s: %q, want %q", mode, out.String(), want)
		}
	}
}

func TestFindRemote(t *testing.T) {
	for _, c := range []struct {
		flag, host, want, why string
	}{
		{"", "", " ", "remote: no address in --builder, BUILDKIT_HOST or [builder] of the settings"},
		{"", "tcp://a:1", " tcp://a:1", "BUILDKIT_HOST names it"},
		{"local", "tcp://a:1", "local tcp://a:1", "asked for by flag"},
		{"tcp://b:1", "tcp://a:1", "remote tcp://b:1", "asked for by flag"},
		{"unix:///x", "", "remote unix:///x", "asked for by flag"},
		{"remote", "tcp://a:1", "remote tcp://a:1", "asked for by flag; BUILDKIT_HOST names it"},
		{"noop", "", "noop ", "asked for by flag"},
	} {
		t.Setenv("BUILDKIT_HOST", c.host)
		t.Setenv("IBUILD_BUILDER", "")
		h := house{settings: &settings.Config{}}
		var args []string
		if c.flag != "" {
			args = []string{"--builder", c.flag}
		}
		h.findRemote(flags(t, builderFlags(), args...))
		if got := h.builder + " " + h.remote.Addr; got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
		choice, err := h.builders("quiet").Choose(t.Context(), h.builder, "flag")
		if err != nil || choice.Why != c.why {
			t.Errorf("%+v: %q, %v", c, choice.Why, err)
		}
	}
	var names []string
	for _, p := range (&house{settings: &settings.Config{}}).builders("quiet") {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"remote", "local", "noop", "cloudbuild"}) {
		t.Errorf("builders %q", names)
	}
}

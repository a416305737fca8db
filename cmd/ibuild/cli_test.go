package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/engine"
	"github.com/ibuild/ibuild/llb"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
)

// usageOf is the text and the hint of an error of the command line.
func usageOf(t *testing.T, err error) string {
	t.Helper()
	var u *usage
	if !errors.As(err, &u) {
		t.Errorf("%v (%T) is no error of the command line", err, err)
		return ""
	}
	if u.hint == "" {
		return u.msg
	}
	return u.msg + " | " + u.hint
}

func TestNames(t *testing.T) {
	got, err := parseNames([]string{"app", "me/app:dev", "ghcr.io/me/app:v1", "localhost:5000/a", "127.0.0.1:5/a/b:c", "docker.io/library/app:latest", "ghcr.io/me/app:v1"})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, n := range got {
		list = append(list, n.String())
	}
	want := []string{"docker.io/library/app:latest", "docker.io/me/app:dev", "ghcr.io/me/app:v1", "localhost:5000/a:latest", "127.0.0.1:5/a/b:c"}
	if !slices.Equal(list, want) {
		t.Errorf("got %v, want %v", list, want)
	}
	const hint = " | write [registry/]name[:tag] in lower case, e.g. ghcr.io/me/train:v1"
	for in, want := range map[string]string{
		"me/App":                              "-t me/App: invalid reference format: repository name (me/App) must be lowercase" + hint,
		"":                                    "-t : invalid reference format" + hint,
		"a b":                                 "-t a b: invalid reference format" + hint,
		"a:":                                  "-t a:: invalid reference format" + hint,
		"https://ghcr.io/a":                   "-t https://ghcr.io/a: invalid reference format" + hint,
		"a@sha256:" + strings.Repeat("0", 64): "-t a@sha256:" + strings.Repeat("0", 64) + ": a name for a new image has a tag, not a digest",
	} {
		_, err := parseNames([]string{in})
		if got := usageOf(t, err); got != want {
			t.Errorf("%q: got %q\nwant %q", in, got, want)
		}
	}
}

func TestPlatforms(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"linux/amd64":                         "linux/amd64",
		"linux/amd64,linux/arm64":             "linux/amd64 linux/arm64",
		"linux/amd64, linux/arm64":            "linux/amd64 linux/arm64",
		"linux/arm64/v8,linux/arm64":          "linux/arm64",
		"amd64":                               "linux/amd64",
		"linux/x86_64":                        "linux/amd64",
		"linux/arm/v7,linux/arm/v6":           "linux/arm/v7 linux/arm/v6",
		"linux/amd64/v3":                      "linux/amd64/v3",
		"linux/riscv64,linux/s390x":           "linux/riscv64 linux/s390x",
		"linux/arm64,linux/amd64,linux/arm64": "linux/arm64 linux/amd64",
	} {
		var list []string
		if in != "" {
			list = []string{in}
		}
		got, err := parsePlatforms(list)
		var names []string
		for _, p := range got {
			n := p.OS + "/" + p.Architecture
			if p.Variant != "" {
				n += "/" + p.Variant
			}
			names = append(names, n)
		}
		if err != nil || strings.Join(names, " ") != want {
			t.Errorf("%q: %v, %v; want %s", in, names, err, want)
		}
	}
	for in, hint := range map[string]string{
		"linux/arm46": "did you mean linux/arm64?", "linux/amd46": "did you mean linux/amd64?",
		"windows/amd64": "known are ", "darwin/arm64": "known are ", "linux/": "", "a/b/c/d/e": "known are ", "": "known are ", "linux/amd64,": "known are ",
		"linux/arm64/foo": "", "linux/amd64/v9": "",
	} {
		_, err := parsePlatforms([]string{in})
		if err == nil {
			t.Errorf("%q is taken for a platform", in)
			continue
		}
		if got := usageOf(t, err); !strings.Contains(got, "is not a platform that ibuild builds for | ") || !strings.Contains(got, hint) {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestPairs(t *testing.T) {
	t.Setenv("IBUILD_TEST_SET", "from the environment")
	got, err := parsePairs("--build-arg", []string{"A=1", "B=", "C=a=b,c", "IBUILD_TEST_SET", "IBUILD_TEST_UNSET", "A=2"}, true)
	if d := cmp.Diff(map[string]string{"A": "2", "B": "", "C": "a=b,c", "IBUILD_TEST_SET": "from the environment"}, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for _, c := range []struct {
		in  string
		env bool
	}{{"=1", true}, {"", true}, {"A", false}, {"=", false}} {
		_, err := parsePairs("--x", []string{c.in}, c.env)
		if got := usageOf(t, err); got != "--x "+c.in+": write KEY=VALUE" {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestSecretFlags(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, f := range []string{"file", "both", "IBUILD_TEST_BOTH"} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("IBUILD_TEST_TOKEN", "canary")
	t.Setenv("IBUILD_TEST_BOTH", "canary")
	for in, want := range map[string]secretsprovider.Source{
		"id=a,src=file":                       {ID: "a", FilePath: "file"},
		"id=a,source=file":                    {ID: "a", FilePath: "file"},
		"type=file,id=a,src=file":             {ID: "a", FilePath: "file"},
		"id=a,env=IBUILD_TEST_TOKEN":          {ID: "a", Env: "IBUILD_TEST_TOKEN"},
		"type=env,id=a,env=IBUILD_TEST_TOKEN": {ID: "a", Env: "IBUILD_TEST_TOKEN"},
		"type=env,id=a,src=IBUILD_TEST_TOKEN": {ID: "a", Env: "IBUILD_TEST_TOKEN"},
		"id=IBUILD_TEST_TOKEN":                {ID: "IBUILD_TEST_TOKEN", Env: "IBUILD_TEST_TOKEN"},
		"id=file":                             {ID: "file", FilePath: "file"},
		"id=IBUILD_TEST_BOTH":                 {ID: "IBUILD_TEST_BOTH", Env: "IBUILD_TEST_BOTH"},
		"type=file,id=IBUILD_TEST_BOTH":       {ID: "IBUILD_TEST_BOTH", FilePath: "IBUILD_TEST_BOTH"},
		`ID=a,"SRC=file"`:                     {ID: "a", FilePath: "file"},
	} {
		if got, err := parseSecret(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	const hint = " | write id=ID,src=FILE or id=ID,env=NAME"
	for in, want := range map[string]string{
		"":                         "",
		"src=file":                 "--secret: the id is missing" + hint,
		"id=":                      "--secret: the id is missing" + hint,
		"id=a,mode=7":              `--secret: unknown key "mode"` + hint,
		"id=a,env=IBUILD_NONE":     "--secret id=a: the environment variable IBUILD_NONE is not set",
		"id=a,src=none":            "--secret id=a: stat none: no such file or directory | name a file with src=FILE or a variable with env=NAME",
		"id=none":                  "--secret id=none: stat none: no such file or directory | name a file with src=FILE or a variable with env=NAME",
		`id="a`:                    "",
		"type=vault,id=a,src=file": "",
	} {
		_, err := parseSecret(in)
		if err == nil {
			t.Errorf("%q is taken", in)
			continue
		}
		if got := usageOf(t, err); want != "" && got != want {
			t.Errorf("%q: got %q\nwant %q", in, got, want)
		} else if strings.Contains(got, "canary") {
			t.Errorf("%q shows the value: %q", in, got)
		}
	}
	ids, list, err := parseSecrets([]string{"id=a,src=file", "id=b,env=IBUILD_TEST_TOKEN"})
	if err != nil || len(list) != 2 || !ids["a"] || !ids["b"] {
		t.Errorf("%v, %v, %v", ids, list, err)
	}
}

func TestFindSecret(t *testing.T) {
	t.Setenv("IBUILD_TEST_TOKEN", "canary")
	src, looked, ok := findSecret(llb.SecretNeed{ID: "IBUILD_TEST_TOKEN"})
	if !ok || src.Env != "IBUILD_TEST_TOKEN" || src.ID != "IBUILD_TEST_TOKEN" || src.FilePath != "" {
		t.Errorf("%+v, %v", src, ok)
	}
	if !slices.Equal(looked, []string{"--secret", "$IBUILD_TEST_TOKEN", "/etc/secrets/IBUILD_TEST_TOKEN"}) {
		t.Errorf("looked at %v", looked)
	}
	for _, id := range []string{"ibuild-test-none", "../passwd", "../../etc/passwd", "/etc/passwd", "group/none", "."} {
		if src, looked, ok := findSecret(llb.SecretNeed{ID: id}); ok || len(looked) == 0 {
			t.Errorf("%q is found: %+v", id, src)
		}
	}
}

// exports reads -o with one temporary folder, which is shown as DIR.
func TestExports(t *testing.T) {
	dir := t.TempDir()
	at := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
	for in, want := range map[string]engine.Export{
		"type=oci,dest=DIR/x.tar":                   {Type: "oci", Dest: "DIR/x.tar"},
		"type=docker,dest=DIR/x.tar":                {Type: "docker", Dest: "DIR/x.tar"},
		"dest=DIR/x.tar,type=tar":                   {Type: "tar", Dest: "DIR/x.tar"},
		"type=local,dest=DIR/new":                   {Type: "local", Dest: "DIR/new"},
		"type=tar,dest=-":                           {Type: "tar", Dest: "-"},
		"type=oci,dest=-,name=a:b,compression=zstd": {Type: "oci", Dest: "-", Attrs: map[string]string{"name": "a:b", "compression": "zstd"}},
		`type=oci,"dest=DIR/a,b.tar"`:               {Type: "oci", Dest: "DIR/a,b.tar"},
		"DIR":                                       {Type: "local", Dest: "DIR"},
		"-":                                         {Type: "tar", Dest: "-"},
		"type=oci":                                  {Type: "oci", Dest: "-"}, // the output of a test is no terminal
	} {
		want.Dest = at(want.Dest)
		if want.Attrs == nil {
			want.Attrs = map[string]string{}
		}
		got, push, err := parseExports([]string{at(in)})
		if err != nil || push || len(got) != 1 {
			t.Errorf("%s: %v, %v, %v", in, got, push, err)
			continue
		}
		if d := cmp.Diff(want, got[0]); d != "" {
			t.Errorf("%s (-want +got):\n%s", in, d)
		}
	}
	const hint = " | write type=oci|docker|tar,dest=FILE or type=local,dest=FOLDER"
	for in, want := range map[string]string{
		"type=ocl,dest=x":             `-o type=ocl,dest=x: there is no output of type "ocl" | did you mean type=oci?`,
		"type=cacheonly":              `-o type=cacheonly: there is no output of type "cacheonly"` + hint,
		"dest=x":                      `-o dest=x: there is no output of type ""` + hint,
		"type=image":                  `-o type=image: there is no output of type "image"` + hint,
		"type=oci,dest=DIR/x,tar":     `-o type=oci,dest=DIR/x,tar: "tar" has no value` + hint,
		"type=oci,dest=DIR/x,level=9": `-o type=oci,dest=DIR/x,level=9: unknown key "level"` + hint,
		"type=local":                  "-o type=local: dest=FOLDER is missing",
		"type=local,dest=":            "-o type=local,dest=: dest=FOLDER is missing",
		"type=oci,dest=DIR/no/x":      "-o type=oci,dest=DIR/no/x: stat DIR/no: no such file or directory | make the folder first",
		`type="oci`:                   "",
		"type=local,dest=-":           "",
		"":                            "",
	} {
		_, _, err := parseExports([]string{at(in)})
		if err == nil {
			t.Errorf("%q is taken", in)
			continue
		}
		if got := usageOf(t, err); want != "" && got != at(want) {
			t.Errorf("%q: got %q\nwant %q", in, got, at(want))
		}
	}
	for _, in := range []string{"type=registry", "type=image,push=true"} {
		if got, push, err := parseExports([]string{in}); err != nil || !push || len(got) != 0 {
			t.Errorf("%s: %v, %v, %v", in, got, push, err)
		}
	}
	// what cannot be done is said, and not left out
	for _, in := range []string{"type=registry,name=ghcr.io/me/app", "type=image,push=true,name=ghcr.io/me/app", "type=registry,compression=zstd"} {
		if _, _, err := parseExports([]string{in}); err == nil {
			t.Errorf("%s: the key is taken and does nothing", in)
		}
	}
	for _, two := range [][]string{{"type=oci,dest=-", "type=tar,dest=-"}, {at("type=oci,dest=DIR/x"), at("type=tar,dest=DIR/x")}} {
		if _, _, err := parseExports(two); err == nil {
			t.Errorf("%v go to the same place", two)
		}
	}
}

func TestEpoch(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "1700000000": 1700000000} {
		t.Setenv("SOURCE_DATE_EPOCH", in)
		if got, err := epoch(); err != nil || got.Unix() != want || got.Location() != time.UTC {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "")
	if got, err := epoch(); got != nil || err != nil {
		t.Errorf("not set: %v, %v", got, err)
	}
	// the last one is in the year 33658, which no image config can say
	for _, in := range []string{"now", "-1", "1.5", "99999999999999999999", "1000000000000"} {
		t.Setenv("SOURCE_DATE_EPOCH", in)
		if got, err := epoch(); err == nil {
			t.Errorf("%s is taken: %v", in, got)
		} else if usageOf(t, err) != "SOURCE_DATE_EPOCH="+in+" is not a number of seconds" {
			t.Logf("%s: %v", in, err)
		}
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	f := filepath.Join(dir, "id")
	for _, data := range []string{"1", "22"} {
		if err := engine.WriteFile(f, []byte(data)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(f); err != nil || string(got) != data {
			t.Errorf("%q, %v", got, err)
		}
	}
	if info, err := os.Stat(f); err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := engine.WriteFile(dir, nil); err == nil {
		t.Error("a folder is written to")
	}
	if err := engine.WriteFile(filepath.Join(dir, "no/id"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	// --iidfile /dev/stdout, and a link that points to the file
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	if err := engine.WriteFile(link, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("a link is replaced instead of written through: %v", err)
	}
}

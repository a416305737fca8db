package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// environment is what a lookup of variables finds.
func environment(pairs ...string) func(string) (string, bool) {
	vars := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		vars[pairs[i]] = pairs[i+1]
	}
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestParseCacheLinks(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	aws := environment("AWS_ACCESS_KEY_ID", "id", "AWS_SECRET_ACCESS_KEY", "secret", "AWS_SESSION_TOKEN", "session", "AWS_REGION", "eu-west-1", "AWS_BUCKET", "builds")
	none := environment()
	for _, c := range []struct {
		flag, value string
		lookup      func(string) (string, bool)
		kind        string
		attrs       string // KEY=VALUE, sorted as written
	}{
		{"--cache-from", "ghcr.io/me/cache", none, "registry", "ref=ghcr.io/me/cache"},
		{"--cache-to", "ghcr.io/me/cache:1", none, "registry", "ref=ghcr.io/me/cache:1"},
		{"--cache-to", "type=registry,ref=me/c,mode=max,compression=zstd,ignore-error=false", none, "registry", "ref=me/c mode=max compression=zstd ignore-error=false"},
		{"--cache-to", "TYPE=inline", none, "inline", ""},
		{"--cache-to", "type=local,dest=out", none, "local", "dest=" + filepath.Join(here, "out")},
		{"--cache-from", `type=local,"src=/a,b",tag=x`, none, "local", "src=/a,b tag=x"},
		{"--cache-to", "type=gha,scope=x", environment("ACTIONS_RUNTIME_TOKEN", "t", "ACTIONS_CACHE_URL", "http://one", "ACTIONS_RESULTS_URL", "http://two"), "gha", "scope=x url=http://one token=t"},
		{"--cache-to", "type=gha", environment("ACTIONS_RUNTIME_TOKEN", "t", "ACTIONS_CACHE_SERVICE_V2", "True", "ACTIONS_RESULTS_URL", "http://two"), "gha", "url=http://two url_v2=http://two token=t"},
		{"--cache-to", "type=gha,url=http://mine,token=own,version=1", environment("ACTIONS_CACHE_SERVICE_V2", "1", "ACTIONS_RESULTS_URL", "http://two"), "gha", "url=http://mine token=own version=1"},
		{"--cache-to", "type=s3", aws, "s3", "bucket=builds region=eu-west-1 access_key_id=id secret_access_key=secret session_token=session"},
		{"--cache-from", "type=s3,bucket=b,region=r,access_key_id=i,secret_access_key=s", aws, "s3", "bucket=b region=r access_key_id=i secret_access_key=s"},
		{"--cache-from", "type=s3,bucket=b,region=r", none, "s3", "bucket=b region=r"},
	} {
		got, err := parseCacheLinks(c.flag, []string{c.value}, c.lookup)
		if err != nil || len(got) != 1 {
			t.Errorf("%s %s: %v, %v", c.flag, c.value, got, err)
			continue
		}
		want := map[string]string{}
		for f := range strings.FieldsSeq(c.attrs) {
			k, v, _ := strings.Cut(f, "=")
			want[k] = v
		}
		if got[0].Type != c.kind || !maps.Equal(got[0].Attrs, want) {
			t.Errorf("%s %s: %s %v, want %s %v", c.flag, c.value, got[0].Type, got[0].Attrs, c.kind, want)
		}
	}
	if got, err := parseCacheLinks("--cache-from", []string{"a/b:1,c/d", "e"}, none); err != nil || len(got) != 3 || got[1].Attrs["ref"] != "c/d" {
		t.Errorf("several names: %v, %v", got, err)
	}
}

func TestParseCacheLinksRefuses(t *testing.T) {
	for _, c := range []struct{ flag, value, msg, hint string }{
		{"--cache-to", "", "--cache-to is empty", "write NAME"},
		{"--cache-to", "Upper/Case", "is not the name of a cache in a registry", "lower case"},
		{"--cache-to", "type=registri,ref=x", `there is no cache of type "registri"`, "did you mean type=registry?"},
		{"--cache-to", "ref=x", "type is missing", "registry, inline, local"},
		{"--cache-to", "type=registry", "ref is missing", "type=registry,ref=NAME[:TAG]"},
		{"--cache-to", "type=local", "dest is missing", "type=local,dest=FOLDER"},
		{"--cache-to", "type=local,src=x,dest=y", `field 2: a cache of type local has no "src"`, "src is for --cache-from"},
		{"--cache-from", "type=registry,ref=x,mode=max", `field 3: a cache of type registry has no "mode"`, "mode is for --cache-to"},
		{"--cache-to", "type=registry,ref=x,moed=max", `field 3: a cache of type registry has no "moed"`, "did you mean mode?"},
		{"--cache-to", "type=registry,ref=x,mode=all", `mode cannot be "all"`, "min"},
		{"--cache-to", "type=inline,mode=max", "an image has room for its own steps only", "type=registry"},
		{"--cache-from", "type=inline", "is read from its image", "type=registry,ref=NAME"},
		{"--cache-to", "type=registry,ref=x,ignore-error=maybe", "ignore-error cannot be", "true or false"},
		{"--cache-to", "type=registry,ref=x,ref=y", "field 3: ref is there twice", ""},
		{"--cache-to", "type=registry,ref=x,max", "field 3 is not KEY=VALUE", `"KEY=VALUE"`},
		{"--cache-to", `type=registry,"ref=x`, "a quote does not end", ""},
		{"--cache-to", "type=gha", "needs", "GitHub Actions"},
		{"--cache-to", "type=s3,region=r", "needs bucket, and AWS_BUCKET is not set", "bucket=BUCKET"},
		{"--cache-to", "type=s3,region=r,bucket=b,access_key_id=x", "go together", "AWS_SECRET_ACCESS_KEY"},
	} {
		_, err := parseCacheLinks(c.flag, []string{c.value}, environment())
		var u *usage
		if !errors.As(err, &u) || !strings.Contains(u.msg, c.msg) || !strings.Contains(u.hint, c.hint) {
			t.Errorf("%s %s: %+v, want %q, %q", c.flag, c.value, err, c.msg, c.hint)
		}
	}
	_, err := parseCacheLinks("--cache-to", []string{"a", "b", "type=local"}, environment())
	if err == nil || !strings.HasPrefix(err.Error(), "--cache-to, the 3rd one: ") {
		t.Errorf("the place of a finding: %v", err)
	}
	if _, err := parseCacheLinks("--cache-to", []string{"a", "type=registry,ref=a"}, environment()); err == nil || !strings.Contains(err.Error(), "named twice") {
		t.Errorf("one cache twice: %v", err)
	}
}

// FuzzParseCacheLink: no value is in an error or in the name of a cache, whatever is wrong, as it may be a credential.
func FuzzParseCacheLink(f *testing.F) {
	for _, s := range []string{"type=s3,bucket=b,region=r,secret_access_key=K", "type=gha,token=K,ul=x", "a,b", `type=local,"src=K`, "type=azblob,name=K", "=,=", "type=registry,ref=x,mode=K"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, to bool) {
		const canary = "canary5f1c"
		flag := "--cache-from"
		if to {
			flag = "--cache-to"
		}
		links, err := parseCacheLinks(flag, []string{s, "type=s3,bucket=b,region=r,access_key_id=" + canary + ",secret_access_key=" + canary + "," + s}, environment())
		if err != nil && strings.Contains(err.Error(), canary) && !strings.Contains(s, "canary") {
			t.Errorf("%q: %v", s, err)
		}
		for _, l := range links {
			if strings.Contains(l.String(), canary) && !strings.Contains(s, "canary") {
				t.Errorf("%q: %s", s, l)
			}
		}
	})
}

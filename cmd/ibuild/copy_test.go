package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An image goes around through all kinds of places and keeps its digest.
func TestCopySaveLoad(t *testing.T) {
	s := newShelf(t)
	dgst := s.push("from:1")
	dir := t.TempDir()
	layout, archive, docker, saved := filepath.Join(dir, "layout"), filepath.Join(dir, "a.tar"), filepath.Join(dir, "d.tar"), filepath.Join(dir, "s.tar")
	for _, args := range [][]string{
		{"copy", s.host + "/from:1", s.host + "/to:1", s.host + "/to:2", "oci:" + layout + ":one"},
		{"copy", s.host + "/to:1", "oci:" + layout + ":V2", "oci:" + layout + ":team/app"},
		{"copy", "oci:" + layout + ":one", "oci-archive:" + archive + ":two", "docker-archive:" + docker + ":team/app:3"},
		{"copy", "--platform", "linux/amd64", "oci-archive:" + archive, s.host + "/third:1"},
		{"copy", "docker-archive:" + docker + ":team/app:3", s.host + "/fourth:1"},
		{"save", "-o", saved, s.host + "/third:1"},
		{"load", "-i", saved},
		{"load", "-i", saved, s.host + "/fifth:1", s.host + "/sixth:1"},
		{"load", "-i", layout, s.host + "/seventh:1"},
	} {
		code, out, errs := ibuild(t, "", append([]string{args[0], "-q"}, args[1:]...)...)
		if code != 0 || out != dgst+"\n" || errs != "" {
			t.Fatalf("%q: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	for _, name := range []string{"to:1", "to:2", "third:1", "fourth:1", "fifth:1", "sixth:1", "seventh:1"} {
		if code, out, errs := ibuild(t, "", "exists", s.host+"/"+name); code != 0 || !strings.Contains(out, dgst) {
			t.Errorf("%s: exit code %d\n%s%s", name, code, out, errs)
		}
	}
	data, err := os.ReadFile(saved)
	s.check(err)
	code, out, errs := ibuild(t, string(data), "load", "-i", "-", "--json", s.host+"/eighth:1")
	var got struct {
		Images  []broughtImage
		Network network
	}
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, out, errs)
	}
	if len(got.Images) != 1 || got.Images[0].Digest.String() != dgst || got.Images[0].Destination != s.host+"/eighth:1" || got.Images[0].Source != "standard input" {
		t.Errorf("%+v", got.Images)
	}
	if n := got.Network; n.There.Blobs+n.Moved.Blobs+n.Mounted.Blobs != 2 {
		t.Errorf("%+v", n)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestCopyRefuses(t *testing.T) {
	s := newShelf(t)
	s.push("app:1")
	dir := t.TempDir()
	two, none := filepath.Join(dir, "two.tar"), filepath.Join(dir, "none")
	if code, _, errs := ibuild(t, "", "save", "-q", "-o", two, s.host+"/app:1", s.host+"/app@"+s.push("app:2")); code != 0 {
		t.Fatal(errs)
	}
	text := filepath.Join(dir, "text")
	s.check(os.WriteFile(text, []byte(strings.Repeat("text ", 1000)), 0o644))
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"copy"}, 2, "the source is missing"},
		{[]string{"copy", "a:1"}, 2, "the destination is missing"},
		{[]string{"copy", "a:1", "B"}, 2, "B: invalid reference"},
		{[]string{"copy", "a:1", "b@sha256:" + strings.Repeat("0", 64)}, 2, "not to a digest"},
		{[]string{"copy", "a:1", "oci:"}, 2, "names no file or folder"},
		{[]string{"copy", "a:1", "docker-archive:x:A B"}, 2, "invalid reference"},
		{[]string{"copy", "a:1", "oci:x:A B"}, 2, "invalid reference"},
		{[]string{"copy", "a:1", "oci-archive:x:a@sha256:" + strings.Repeat("0", 64)}, 2, "not to a digest"},
		{[]string{"copy", "--all", "--platform", "linux/amd64", "a:1", "b:1"}, 2, "opposites"},
		{[]string{"copy", "--json", "-q", "a:1", "b:1"}, 2, "both want standard output"},
		{[]string{"copy", "oci:" + none, "b:1"}, 2, "no such file"},
		{[]string{"copy", "oci-archive:" + text, "b:1"}, 2, "not an archive"},
		{[]string{"copy", "oci-archive:" + two, "b:1"}, 2, "it holds 2 images, not one; it names " + s.host + "/app:1"},
		{[]string{"copy", "oci-archive:" + two + ":x", "b:1"}, 2, "it holds 0 images with the name x"},
		{[]string{"copy", s.host + "/none:1", s.host + "/b:1"}, 1, "not found"},
		{[]string{"copy", "--platform", "linux/arm64", s.host + "/app:1", s.host + "/b:1"}, 2, "no image for linux/arm64"},
		{[]string{"copy", s.host + "/app:1", "oci:" + dir}, 2, "no OCI layout: it has"},
		{[]string{"copy", s.host + "/app:1", "oci-archive:" + filepath.Join(none, "x.tar")}, 1, "cannot write"},
		{[]string{"save", s.host + "/app:1"}, 2, "the file to write is missing"},
		{[]string{"save", "-o", "x", "oci:" + none}, 2, "save is for images in registries"},
		{[]string{"save", "-o", "-", "--json", "a:1"}, 2, "both want standard output"},
		{[]string{"save", "-o", "x", "--format", "zip", "a:1"}, 2, "--format cannot be"},
		{[]string{"load"}, 2, "the file to read is missing"},
		{[]string{"load", "-i", text}, 2, "not an archive"},
		{[]string{"load", "-i", two}, 2, "an image without a name"},
		{[]string{"load", "-i", two, "a:1"}, 2, "holds 2 images"},
		{[]string{"load", "-i", two, "oci:x"}, 2, "load pushes to registries"},
	} {
		code, out, errs := ibuild(t, "", append([]string{c.args[0], "--progress", "quiet"}, c.args[1:]...)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%q: exit code %d, %s%s", c.args, code, out, errs)
		}
		if code == exitUsage && !strings.Contains(errs, "\nhint:  ") {
			t.Errorf("%q: no hint: %s", c.args, errs)
		}
	}
	// An archive that was there stays what it was when the new one cannot be made.
	before, err := os.ReadFile(two)
	s.check(err)
	s.mu.Lock()
	s.refuse = true
	s.mu.Unlock()
	if code, _, errs := ibuild(t, "", "save", "-q", "-o", two, s.host+"/app:1"); code != exitAuth {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if after, err := os.ReadFile(two); err != nil || string(after) != string(before) {
		t.Errorf("the archive is another one: %v", err)
	}
}

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]imagePlace{
		"oci:a/b":                    {kind: layoutPlace, path: "a/b"},
		"oci:/a:tag":                 {kind: layoutPlace, path: "/a", name: "tag"},
		"docker-archive:f:app:1":     {kind: dockerArchivePlace, path: "f", name: "app:1"},
		"oci-archive:f:":             {kind: ociArchivePlace, path: "f"},
		"docker://debian":            {},
		"localhost:5000/oci-archive": {},
	} {
		got, err := parsePlace(text)
		if err != nil || got.kind != want.kind || got.path != want.path || got.name != want.name || (got.ref == nil) != (want.kind != "") {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	if got, err := parsePlace("docker://debian"); err != nil || got.ref.String() != "docker.io/library/debian:latest" {
		t.Errorf("%+v, %v", got, err)
	}
}

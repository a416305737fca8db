package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/cache"
	"github.com/ibuild/ibuild/engine/anatomy"
	"github.com/ibuild/ibuild/engine/journal"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// desk is a machine that remembers its builds, with a registry and without a builder.
type desk struct {
	*shelf
	cache, dir string
}

func newDesk(t *testing.T) *desk {
	return &desk{newShelf(t), t.TempDir(), t.TempDir()}
}

// run runs ibuild; what is different each time is replaced.
func (d *desk) run(args ...string) (code int, out, errs string) {
	d.t.Helper()
	code, out, errs = d.runPlainly(args...)
	return code, d.plain(out), d.plain(errs)
}

// runPlainly is run with what is said as it is said.
func (d *desk) runPlainly(args ...string) (code int, out, errs string) {
	d.t.Helper()
	d.t.Setenv("HOME", d.t.TempDir())
	d.t.Setenv("XDG_CONFIG_HOME", d.t.TempDir())
	d.t.Setenv("IBUILD_CACHE", d.cache)
	d.t.Setenv("BUILDKIT_HOST", "unix:///nonexistent/ibuild-test.sock")
	app := newApp()
	var stdout, stderr bytes.Buffer
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(""), &stdout, &stderr
	code = report(&stderr, app.RunContext(d.t.Context(), append([]string{"ibuild"}, args...)))
	return code, stdout.String(), stderr.String()
}

func (d *desk) plain(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, d.host, "HOST"), d.dir, "DIR")
	for _, p := range []struct{ pattern, with string }{
		{`127\.0\.0\.1:\d+`, "HOST"}, {`sha256:[0-9a-f]{64}`, "DIGEST"}, {`sha256:[0-9a-f]{12}\b`, "SHORT"}, {`\b[0-9a-f]{12}\b`, "SHORT"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "TIME"}, {`\b\d+(\.\d+)?m?s\b`, "TOOK"}, {`\b\d+ B\b`, "SIZE"},
	} {
		s = regexp.MustCompile(p.pattern).ReplaceAllString(s, p.with)
	}
	return regexp.MustCompile(` {2,}`).ReplaceAllStringFunc(s, func(blanks string) string { // the widths of columns
		return blanks[:2]
	})
}

func goldenText(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (write it with -update):\n%s", file, d)
	}
}

// TestExplainAndHistory goes through the life of a Dockerfile. The builds fail for want of a builder: they are
// recorded all the same.
func TestExplainAndHistory(t *testing.T) {
	d := newDesk(t)
	d.push("base:1")
	docker := d.file(d.dir, "Dockerfile", "FROM HOST/base:1\nARG API_TOKEN\nRUN apt-get install -y git curl\nCOPY a.txt /a.txt\n")
	d.file(d.dir, "a.txt", "1")
	var all strings.Builder
	do := func(want int, args ...string) {
		code, out, errs := d.run(args...)
		if code != want {
			t.Errorf("%v: %d\n%s%s", args, code, out, errs)
		}
		typed := strings.ReplaceAll(d.plain(strings.Join(args, " ")), "canary-of-the-test", "…")
		all.WriteString("$ ibuild " + typed + "\n" + out + errs + "\n")
	}
	flags := []string{"--builder", "local", "--platform", "linux/amd64", "--build-arg", "API_TOKEN=canary-of-the-test"}
	build := func() {
		d.run(append(append([]string{"build", "-q", "--root", "/dev/null/none", "--push", "-t", d.host + "/app:1"}, flags...), d.dir)...)
	}
	explain := func() {
		do(0, append(append([]string{"explain", "-t", d.host + "/app:1"}, flags...), d.dir)...)
	}
	do(2, "history")
	explain()
	build()
	do(0, "history")
	explain()
	d.file(d.dir, "Dockerfile", "FROM HOST/base:1\nARG API_TOKEN\nRUN apt-get install -y git wget\nRUN useradd me\nCOPY a.txt /a.txt\n")
	d.file(d.dir, "a.txt", "22")
	d.push("base:1")
	explain()
	build()
	do(0, "explain", d.host+"/app:1")
	do(0, "explain", "--build", "1")
	do(0, "history", "--limit", "1", docker)
	do(0, "history", "1")
	do(2, "history", "9")
	do(2, "history", "none")
	do(2, "explain", "--build", "9")
	do(2, "explain", "none/at:all")
	do(2, "explain", "--build", "1", docker)
	do(2, "history", "--svg", "x.svg")
	if strings.Contains(all.String(), "canary") {
		t.Error("the secret is shown")
	}
	goldenText(t, "explain.txt", all.String())

	// what is kept does not have it either, and knows that there is something
	store, err := cache.Open(d.cache)
	d.check(err)
	defer store.Close()
	log := journal.Open(store)
	for _, b := range log.Builds("", 10) {
		o, err := log.Outline(b)
		d.check(err)
		row, err := json.Marshal(b)
		d.check(err)
		graph, err := json.Marshal(o)
		d.check(err)
		if text := string(row) + string(graph); strings.Contains(text, "canary") || !strings.Contains(text, `"name":"API_TOKEN","value":"(hidden `) {
			t.Errorf("the secret is kept, or nothing of its variable is: %s", text)
		}
	}
}

func TestExplainJSON(t *testing.T) {
	d := newDesk(t)
	docker := d.file(d.dir, "Dockerfile", "FROM scratch\nCOPY a.txt /\n")
	d.file(d.dir, "a.txt", "1")
	var e explanation
	read := func(args ...string) {
		t.Helper()
		e = explanation{}
		code, out, errs := d.run(args...)
		if code != 0 {
			t.Fatalf("%v: %d %s", args, code, errs)
		}
		d.check(json.Unmarshal([]byte(out), &e))
	}
	read("explain", "--format", "json", "--builder", "local", "--platform", "linux/amd64", docker)
	if e.Now == nil || e.Now.How != "solved" || e.Now.Steps != 2 || e.Before != nil || e.Diff != nil || e.Name != docker && e.Name != "DIR/Dockerfile" {
		t.Errorf("%+v", e)
	}
	d.run("build", "-q", "--builder", "local", "--root", "/dev/null/none", "--platform", "linux/amd64", docker)
	d.file(d.dir, "a.txt", "2")
	read("explain", "--format", "json", "--builder", "local", "--platform", "linux/amd64", docker)
	if e.Before == nil || e.Before.ID != 1 || e.Diff == nil || len(e.Diff.Images) != 1 || e.Diff.Images[0].Steps[0].Changes[0].Name != "a.txt" {
		t.Errorf("%+v", e)
	}
	var list []journal.Build
	code, out, errs := d.run("history", "--format", "json")
	if code != 0 || json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || list[0].Error == "" {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

func TestTimelineCommand(t *testing.T) {
	d := newDesk(t)
	docker := d.file(d.dir, "Dockerfile", "FROM scratch\n")
	d.run("build", "-q", "--builder", "local", "--root", "/dev/null/none", "--platform", "linux/amd64", docker)
	file := filepath.Join(d.dir, "x.svg")
	code, printed, errs := d.run("history", "--svg", "-", "1")
	if code != 0 || !strings.HasPrefix(printed, "<svg ") {
		t.Fatalf("%d %s%s", code, printed, errs)
	}
	if code, _, errs := d.run("history", "--svg", file, "1"); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	data, err := os.ReadFile(file)
	d.check(err)
	if d.plain(string(data)) != printed {
		t.Error("the file is another picture")
	}
	dec := xml.NewDecoder(bytes.NewReader(data))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestInspectCommand(t *testing.T) {
	d := newDesk(t)
	at := d.push("app:1")
	code, out, errs := d.run("inspect", d.host+"/app:1")
	if code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	goldenText(t, "inspect.txt", out)
	var i inspection
	code, out, _ = d.run("inspect", "--format", "json", "--platform", "linux/amd64", d.host+"/app@"+at)
	if code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	d.check(json.Unmarshal([]byte(out), &i))
	if len(i.Platforms) != 1 || len(i.Platforms[0].Layers) != 1 || i.Platforms[0].Size != i.Platforms[0].Layers[0].Size || i.Build != nil {
		t.Errorf("%+v", i)
	}
	text := d.file(d.dir, "text", strings.Repeat("no archive\n", 100))
	for _, c := range []struct {
		arg  string
		code int
		want string
	}{
		{d.host + "/none:1", 1, "not found"}, {"127.0.0.1:1/app", 4, "out of reach"}, {text, 2, "not an archive"}, {d.dir, 2, "no OCI layout"}, {"A B", 2, "no name of an image"},
	} {
		if code, _, errs := d.run("inspect", c.arg); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %d %s", c.arg, code, errs)
		}
	}
	if code, _, errs := d.run("inspect", "--platform", "linux/arm64", d.host+"/app:1"); code != 2 || !strings.Contains(errs, "has no image for linux/arm64") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestVerifyRefuses(t *testing.T) {
	d := newDesk(t)
	docker := d.file(d.dir, "Dockerfile", "FROM scratch\nCOPY a.txt /\n")
	d.file(d.dir, "a.txt", "1")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{docker}, 2, "no build of DIR/Dockerfile with an image is recorded on this machine\nhint:  name the image to compare with: --with IMAGE"},
		{[]string{"--with", d.host + "/none:1", docker}, 4, "not found"},
		{[]string{"--with", docker, docker}, 2, "not an archive"},
		{[]string{"--files", "-1", docker}, 2, "--files cannot be -1"},
		{[]string{"--format", "xml", docker}, 2, "--format cannot be"},
	} {
		if code, _, errs := d.run(append([]string{"verify"}, c.args...)...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%v: %d %s, want %d %s", c.args, code, errs, c.code, c.want)
		}
	}
	d.push("app:1")
	if code, _, errs := d.run("verify", "--platform", "linux/amd64", "--progress", "quiet", "--with", d.host+"/app:1", docker); code != exitReach {
		t.Errorf("no builder: %d %s", code, errs)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "ibuild-verify-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestHistoryTable(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	result := &ocispecs.Descriptor{Digest: digest.FromString("x")}
	var out bytes.Buffer
	err := writeHistory(&out, []journal.Build{
		{ID: 12, Name: "ghcr.io/me/app:1", Start: start, Took: 21, How: "known", Result: result, StepCount: 1, Cached: 1},
		{ID: 11, Name: "/home/me/\x1b[31mtrain.py", Start: start, Took: 61000, Error: "exit code 1", StepCount: 7, Cached: 3},
		{ID: 10, Name: "app:1", Start: start, Took: 1500, How: "solved", Builder: "in-process", StepCount: 7},
		{ID: 9, Name: "app:1", Start: start, Took: 100, Error: "context canceled", Cancelled: true},
	}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	goldenText(t, "history.txt", out.String())
}

func TestHistorySaysWhatWasSent(t *testing.T) {
	for sent, want := range map[int64]string{412e6: "412 MB", 0: ""} {
		var out bytes.Buffer
		if err := writeBuild(&out, &journal.Build{ID: 1, Sent: sent}, time.UTC); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "sent "); got != (want != "") || !strings.Contains(out.String(), want) {
			t.Errorf("%d: %s", sent, &out)
		}
	}
}

func TestVerdicts(t *testing.T) {
	layer := func(v anatomy.Verdict) *anatomy.Report {
		return &anatomy.Report{Old: "a", New: "b", Images: []anatomy.ImageReport{{Platform: "linux/amd64", Layers: []anatomy.LayerReport{{Step: "RUN x", Verdict: v, Reason: "r"}}}}}
	}
	for _, c := range []struct {
		r    *anatomy.Report
		code int
		want string
	}{
		{layer(anatomy.Same), 0, "\nreproducible\n"}, {layer(anatomy.Form), 0, "\nreproducible\n"}, {layer(anatomy.Differs), 1, "\nnot reproducible\n"},
		{layer(anatomy.Only), 1, "\nnot reproducible\n"}, {layer(anatomy.Unknown), 4, "\ncannot tell: not all layers could be compared\n"},
	} {
		var out bytes.Buffer
		err := writeVerdict(&out, "text", c.r)
		if code := report(io.Discard, err); code != c.code || !strings.HasSuffix(out.String(), c.want) {
			t.Errorf("%d %s, want %d %s", code, out.String(), c.code, c.want)
		}
		out.Reset()
		_ = writeVerdict(&out, "json", c.r)
		var doc struct{ Reproducible string }
		if err := json.Unmarshal(out.Bytes(), &doc); err != nil || doc.Reproducible == "" || !strings.Contains(out.String(), `"verdict"`) {
			t.Errorf("%s, %v", out.String(), err)
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1500: "1.5 kB", 123456: "123 kB", 999999: "1.0 MB", 328e6: "328 MB", 5e9: "5.0 GB"} {
		if got := cache.FormatSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

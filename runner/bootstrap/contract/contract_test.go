package contract

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCommand(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Request
		want string
	}{
		{"a program alone", Request{Program: []string{"true"}}, "/ibuild/bootstrap|run|--|true"},
		{"all", Request{Install: "/r.txt", Output: "/out", Results: "host:5000/a/b:run-1", Credential: "/c.json", Auth: AuthWorkload, PlainHTTP: true,
			Timeout: 90 * time.Second, Grace: time.Minute, Program: []string{"python", "-c", "print(1)\n", "--", ""}},
			"/ibuild/bootstrap|run|--install=/r.txt|--output=/out|--results=host:5000/a/b:run-1|--credential=/c.json|--results-auth=workload" +
				"|--timeout=90|--grace=60|--results-http|--|python|-c|print(1)\n|--|"},
	} {
		command := c.in.Command()
		if got := strings.Join(command, "|"); got != c.want {
			t.Errorf("%s: %q, not %q", c.name, got, c.want)
		}
		back, err := Parse(command[1:])
		if diff := cmp.Diff(c.in, back); err != nil || diff != "" {
			t.Errorf("%s: read back: %v\n%s", c.name, err, diff)
		}
	}
}

func TestPartsOfASecond(t *testing.T) {
	command := Request{Timeout: time.Millisecond, Program: []string{"x"}}.Command()
	if r, err := Parse(command[1:]); err != nil || r.Timeout != time.Second {
		t.Errorf("%v became %s, %v", command, r.Timeout, err)
	}
}

func TestParseErrors(t *testing.T) {
	for line, want := range map[string]string{
		"":                                 "the one command run",
		"walk|--|x":                        "the one command run",
		"run":                              "there is no program after --",
		"run|--":                           "there is no program after --",
		"run|x":                            `"x" is not known`,
		"run|--new=1|--|x":                 "may be older than the ibuild",
		"run|--install|--|x":               `"--install" is not known`,
		"run|--results-http=0|--|x":        "is not known",
		"run|--output=|--|x":               "--output is empty",
		"run|--output=o|--|x":              "--output is not absolute",
		"run|--output=/\x00|--|x":          "NUL",
		"run|--output=/o|--output=/p|--|x": `"--output" comes twice`,
		"run|--timeout=0|--|x":             "not a number of seconds",
		"run|--timeout=99999999999999999999|--|x":              "not a number of seconds",
		"run|--grace=1.5|--|x":                                 "not a number of seconds",
		"run|--results=r:t|--|x":                               "--results needs --output",
		"run|--results=host:5000/r|--output=/o|--|x":           "not REPOSITORY:PREFIX",
		"run|--results=r:t@sha256:0|--output=/o|--|x":          "not REPOSITORY:PREFIX",
		"run|--credential=/c|--|x":                             "are about --results",
		"run|--results-auth=me|--results=r:t|--output=/o|--|x": "neither config nor workload",
		"run|--timeout=x|--what":                               "--timeout: \"x\" is not a number of seconds from 1 on; \"--what\" is not known",
	} {
		if _, err := Parse(strings.Split(line, "|")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, without %q", line, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("run|--output=/o|--results=a/b:c|--timeout=5|--results-http|--|python|x.py")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := Parse(strings.Split(line, "|"))
		if err != nil {
			if len(err.Error()) > 300*(2+strings.Count(line, "|")) {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		back, err := Parse(r.Command()[1:])
		if diff := cmp.Diff(r, back); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}

func TestMessage(t *testing.T) {
	for _, c := range []struct{ in, want Message }{
		{Message{PhaseRun, 0, "", "sha256:abc"}, Message{PhaseRun, 0, "", "sha256:abc"}},
		{Message{PhaseInstall, 125, "\x1b[31mno such package\x1b[0m\r50%\xff", ""}, Message{PhaseInstall, 125, "[31mno such package[0m\n50%\uFFFD", ""}},
	} {
		got, err := ParseMessage(c.in.Encode())
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}

func TestLongMessage(t *testing.T) {
	for _, unit := range []string{"a", "é", "\"", "<", "\n", "\u2028"} {
		data := Message{PhaseInstall, 125, strings.Repeat(unit, 100_000) + "the end", "sha256:abc"}.Encode()
		m, err := ParseMessage(data)
		if err != nil || !strings.HasSuffix(m.Message, "the end") || len(data) < maxMessage/2 && unit != "\u2028" {
			t.Errorf("%q: %d bytes, %v, %.50q", unit, len(data), err, m.Message)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"phase":"run","exitCode":1,"message":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMessage(data)
		if err != nil {
			return
		}
		m.Result = "sha256:0"
		if _, err := ParseMessage(m.Encode()); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	})
}

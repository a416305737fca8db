package settings

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ibuild/ibuild/llb"
)

type (
	env   map[string]string
	files map[string]string
)

// fakeHost is a machine made of maps. Commands answer by their name; what they write to a channel is run.
type fakeHost struct {
	env      env
	files    files
	denied   []string
	commands map[string]string
}

func (h fakeHost) Getenv(name string) string { return h.env[name] }

func (h fakeHost) ReadFile(name string) ([]byte, error) {
	if slices.Contains(h.denied, name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	if data, ok := h.files[name]; ok {
		return []byte(data), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (h fakeHost) Glob(pattern string) (out []string, err error) {
	for name := range h.files {
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, err
		} else if ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (h fakeHost) Run(ctx context.Context, name string, _ ...string) ([]byte, error) {
	if out, ok := h.commands[name]; ok {
		return []byte(out), ctx.Err()
	}
	return nil, errors.New("not to be run: " + name)
}

// detect runs Detect and compares notes and error; passwords in tests are "secret", and must not be in them.
func detect(t *testing.T, cfg *Config, h fakeHost, notes []string, wantErr string) llb.Machine {
	t.Helper()
	m, got, err := Detect(t.Context(), cfg, h)
	if d := cmp.Diff(wantErr, message(err)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(notes, got); d != "" {
		t.Error(d)
	}
	if shown := message(err) + strings.Join(got, "\n"); strings.Contains(shown, "secret") {
		t.Errorf("a password is shown: %s", shown)
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%T", err)
		}
	}
	for name := range m.Env {
		if !slices.Contains(llb.MachineEnv(), name) {
			t.Errorf("%s is no variable of a machine", name)
		}
	}
	return m
}

func TestDetect(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cfg   *Config
		host  fakeHost
		want  env
		notes []string
		err   string
	}{
		{name: "nothing", want: env{}},
		{
			name: "proxies from the environment",
			host: fakeHost{env: env{"HTTP_PROXY": "http://u:secret@p:1", "https_proxy": "http://127.0.0.1:2", "no_proxy": "a,b", "ALL_PROXY": "socks5://up:3", "all_proxy": "socks5://low:3"}},
			want: env{
				"HTTP_PROXY": "http://u:secret@p:1", "http_proxy": "http://u:secret@p:1", "HTTPS_PROXY": "http://127.0.0.1:2", "https_proxy": "http://127.0.0.1:2",
				"NO_PROXY": "a,b", "no_proxy": "a,b", "ALL_PROXY": "socks5://up:3", "all_proxy": "socks5://low:3",
			},
			notes: []string{
				"http proxy http://***@p:1 (from HTTP_PROXY)",
				"https proxy http://127.0.0.1:2 (from https_proxy; it is on this machine's loopback, which a step reaches with the host's network only)",
				"proxy for all socks5://up:3 (from ALL_PROXY)",
				"proxy for all, for tools that read all_proxy, socks5://low:3 (from all_proxy)",
				"no proxy for a,b (from no_proxy)",
			},
		},
		{
			name: "configured proxies", cfg: &Config{File: "/c.toml", Packages: Packages{HTTPSProxy: "http://cfg:1"}},
			host:  fakeHost{env: env{"HTTPS_PROXY": "http://env", "HTTP_PROXY": "http://env"}},
			want:  env{"HTTPS_PROXY": "http://cfg:1", "https_proxy": "http://cfg:1", "HTTP_PROXY": "http://env", "http_proxy": "http://env"},
			notes: []string{"http proxy http://env (from HTTP_PROXY)", "https proxy http://cfg:1 (from /c.toml)"},
		},
		{
			name: "pip's proxy", host: fakeHost{files: files{"/etc/pip.conf": "[global]\nproxy = u:secret@p:1"}},
			want:  env{"HTTPS_PROXY": "http://u:secret@p:1", "https_proxy": "http://u:secret@p:1", "HTTP_PROXY": "http://u:secret@p:1", "http_proxy": "http://u:secret@p:1"},
			notes: []string{"http and https proxy http://***@p:1 (from /etc/pip.conf)"},
		},
		{
			name: "pip's variables, for uv too",
			host: fakeHost{env: env{"PIP_INDEX_URL": "https://u:secret@a/simple", "PIP_EXTRA_INDEX_URL": "https://b https://c?token=secret /wheels", "PIP_TRUSTED_HOST": "a b:1", "PIP_DEFAULT_TIMEOUT": "15.5"}},
			want: env{
				"PIP_INDEX_URL": "https://u:secret@a/simple", "PIP_EXTRA_INDEX_URL": "https://b https://c?token=secret", "PIP_TRUSTED_HOST": "a b:1", "PIP_DEFAULT_TIMEOUT": "15.5",
				"UV_DEFAULT_INDEX": "https://u:secret@a/simple", "UV_INDEX": "https://b https://c?token=secret", "UV_INSECURE_HOST": "a b:1", "UV_HTTP_TIMEOUT": "16",
			},
			notes: []string{
				"pip index https://***@a/simple (from PIP_INDEX_URL)",
				"pip extra index https://b (from PIP_EXTRA_INDEX_URL)",
				"pip extra index https://c?*** (from PIP_EXTRA_INDEX_URL)",
				"pip extra index /wheels is not carried: it is not a web address (from PIP_EXTRA_INDEX_URL)",
				"pip trusts a b:1 without a certificate (from PIP_TRUSTED_HOST)",
				"pip timeout 15.5 (from PIP_DEFAULT_TIMEOUT)",
				"uv default index https://***@a/simple (from PIP_INDEX_URL)",
				"uv index https://b (from PIP_EXTRA_INDEX_URL)",
				"uv index https://c?*** (from PIP_EXTRA_INDEX_URL)",
				"uv index /wheels is not carried: it is not a web address (from PIP_EXTRA_INDEX_URL)",
				"uv trusts a without a certificate (from PIP_TRUSTED_HOST)",
				"uv trusts b:1 without a certificate (from PIP_TRUSTED_HOST)",
				"uv timeout 16 (from PIP_DEFAULT_TIMEOUT)",
			},
		},
		{
			name: "pip's files, each over those before",
			host: fakeHost{
				env: env{"HOME": "/h", "VIRTUAL_ENV": "/v", "XDG_CONFIG_DIRS": "/x1:/x2", "PIP_CONFIG_FILE": "/not-there"},
				files: files{
					"/x1/pip/pip.conf": "[global]\nindex-url=https://x1\ntrusted-host=x1\n", "/etc/pip.conf": "[global]\nindex_url = https://etc\n[install]\nextra-index-url =\n  # why\n    https://e1\n\n    https://e2\n",
					"/h/.pip/pip.conf": "[global]\nindex-url: https://legacy\n", "/h/.config/pip/pip.conf": "[global]\nINDEX-URL = https://user\nextra-index-url = https://overridden\n",
					"/v/pip.conf": "[global]\ntrusted-host =\n",
				},
			},
			want: env{"PIP_INDEX_URL": "https://user", "PIP_EXTRA_INDEX_URL": "https://e1 https://e2", "UV_DEFAULT_INDEX": "https://user", "UV_INDEX": "https://e1 https://e2"},
			notes: []string{
				"pip index https://user (from /h/.config/pip/pip.conf)", "pip extra index https://e1 (from /etc/pip.conf)", "pip extra index https://e2 (from /etc/pip.conf)",
				"uv default index https://user (from /h/.config/pip/pip.conf)", "uv index https://e1 (from /etc/pip.conf)", "uv index https://e2 (from /etc/pip.conf)",
			},
		},
		{
			name: "PIP_CONFIG_FILE for the user's",
			host: fakeHost{
				env:   env{"HOME": "/h", "VIRTUAL_ENV": "/v", "PIP_CONFIG_FILE": "/named"},
				files: files{"/h/.config/pip/pip.conf": "[global]\ntrusted-host=user\n", "/v/pip.conf": "[global]\nindex-url=https://venv", "/named": "[global]\nindex-url=https://named"},
			},
			want:  env{"PIP_INDEX_URL": "https://named", "UV_DEFAULT_INDEX": "https://named"},
			notes: []string{"pip index https://named (from /named)", "uv default index https://named (from /named)"},
		},
		{name: "no pip files", host: fakeHost{env: env{"PIP_CONFIG_FILE": "/dev/null"}, files: files{"/etc/pip.conf": "broken"}}, want: env{}},
		{
			name: "pip's file not readable", host: fakeHost{files: files{"/etc/pip.conf": "x"}, denied: []string{"/etc/pip.conf"}}, want: env{},
			notes: []string{"/etc/pip.conf is not used: permission denied"},
		},
		{
			name: "pip's file broken", host: fakeHost{files: files{"/etc/pip.conf": "[global]\n# x\nhttps//u secret@x\n"}},
			err: "/etc/pip.conf:3: pip cannot read this file: the line is neither a [section] nor name = value; mend it, or set PIP_CONFIG_FILE=/dev/null",
		},
		{
			name: "uv's variables",
			host: fakeHost{env: env{
				"UV_DEFAULT_INDEX": "main=https://m/simple", "UV_INDEX_URL": "https://old", "UV_INDEX": "corp=https://c/simple /local https://d", "UV_EXTRA_INDEX_URL": "https://d https://e",
				"UV_INDEX_CORP_USERNAME": "u", "UV_INDEX_CORP_PASSWORD": "secret", "UV_INSECURE_HOST": "h", "UV_HTTP_TIMEOUT": "9", "PIP_INDEX_URL": "https://pip",
			}},
			want: env{
				"UV_DEFAULT_INDEX": "main=https://m/simple", "UV_INDEX": "corp=https://u:secret@c/simple https://d https://e", "UV_INSECURE_HOST": "h", "UV_HTTP_TIMEOUT": "9",
				"PIP_INDEX_URL": "https://pip",
			},
			notes: []string{
				"pip index https://pip (from PIP_INDEX_URL)",
				"uv default index https://m/simple (from UV_DEFAULT_INDEX)",
				"uv index https://c/simple (from UV_INDEX)",
				"uv index /local is not carried: it is not a web address (from UV_INDEX)",
				"uv index https://d (from UV_INDEX)",
				"uv index https://e (from UV_EXTRA_INDEX_URL)",
				"uv trusts h without a certificate (from UV_INSECURE_HOST)",
				"uv timeout 9 (from UV_HTTP_TIMEOUT)",
			},
		},
		{
			name: "uv's files",
			host: fakeHost{env: env{"HOME": "/h"}, files: files{
				"/h/.config/uv/uv.toml": "extra-index-url = ['https://x']\nallow-insecure-host=['a','b']\npreview = true\n[[index]]\nname='n'\nurl='https://one'\n[[index]]\nurl='https://torch'\nexplicit=true\n[[index]]\nurl='https://flat'\nformat='flat'\n",
				"/etc/uv/uv.toml":       "index-url='https://url'\nallow-insecure-host=['b']\n[[index]]\nurl='https://default'\ndefault=true\n[[index]]\nurl='https://two'\n",
			}},
			want: env{"UV_DEFAULT_INDEX": "https://default", "UV_INDEX": "n=https://one https://two https://x", "UV_INSECURE_HOST": "a b"},
			notes: []string{
				"uv index https://torch is not carried: it is explicit (from /h/.config/uv/uv.toml)",
				"uv index https://flat is not carried: its format is flat (from /h/.config/uv/uv.toml)",
				"uv default index https://default (from /etc/uv/uv.toml)",
				"uv index https://one (from /h/.config/uv/uv.toml)",
				"uv index https://two (from /etc/uv/uv.toml)",
				"uv index https://x (from /h/.config/uv/uv.toml)",
				"uv trusts a without a certificate (from /h/.config/uv/uv.toml)",
				"uv trusts b without a certificate (from /h/.config/uv/uv.toml)",
			},
		},
		{
			name: "UV_CONFIG_FILE", host: fakeHost{env: env{"UV_CONFIG_FILE": "/u"}, files: files{"/etc/uv/uv.toml": "index-url='https://no'", "/u": "index-url='https://yes'"}},
			want: env{"UV_DEFAULT_INDEX": "https://yes"}, notes: []string{"uv default index https://yes (from /u)"},
		},
		{name: "UV_NO_CONFIG", host: fakeHost{env: env{"UV_NO_CONFIG": "1"}, files: files{"/etc/uv/uv.toml": "index-url='https://no'"}}, want: env{}},
		{name: "uv's file broken", host: fakeHost{files: files{"/etc/uv/uv.toml": "\nindex-url = 'https://u:secret@"}}, err: "/etc/uv/uv.toml:2:30: unterminated literal string"},
		{
			name: "uv's file of a wrong kind", host: fakeHost{files: files{"/etc/uv/uv.toml": "extra-index-url = 'https://u:secret@x'"}},
			err: "/etc/uv/uv.toml:1:19: extra-index-url takes a list of strings; this is a string",
		},
		{
			name: "configured indexes", cfg: &Config{File: "/c.toml", Packages: Packages{IndexURL: "https://cfg", ExtraIndexURLs: []string{"https://x1", "https://x2"}}},
			host: fakeHost{env: env{"PIP_INDEX_URL": "https://pip", "UV_INDEX": "https://uv", "UV_DEFAULT_INDEX": "https://uv"}},
			want: env{"PIP_INDEX_URL": "https://cfg", "PIP_EXTRA_INDEX_URL": "https://x1 https://x2", "UV_DEFAULT_INDEX": "https://cfg", "UV_INDEX": "https://x1 https://x2"},
			notes: []string{
				"pip index https://cfg (from /c.toml)", "pip extra index https://x1 (from /c.toml)", "pip extra index https://x2 (from /c.toml)",
				"uv default index https://cfg (from /c.toml)", "uv index https://x1 (from /c.toml)", "uv index https://x2 (from /c.toml)",
			},
		},
		{
			name: "control characters", host: fakeHost{env: env{"NO_PROXY": "a\nb", "PIP_INDEX_URL": "https://x\x1b[2J"}}, want: env{},
			notes: []string{
				"NO_PROXY is not carried: it has control characters", "no_proxy is not carried: it has control characters", `no proxy for a\nb (from NO_PROXY)`,
				`pip index https://x\x1b[2J (from PIP_INDEX_URL)`, "PIP_INDEX_URL is not carried: it has control characters",
				`uv default index https://x\x1b[2J is not carried: it has spaces or control characters (from PIP_INDEX_URL)`,
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := detect(t, tc.cfg, tc.host, tc.notes, tc.err)
			if tc.err == "" {
				if d := cmp.Diff(map[string]string(tc.want), m.Env); d != "" {
					t.Error(d)
				}
			} else if !m.Empty() {
				t.Errorf("with an error: %v", m)
			}
		})
	}
}

func TestDetectCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Detect(ctx, nil, fakeHost{files: files{aptConfig: ""}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://h/simple":          "https://h/simple",
		"https://u:secret@h/s":      "https://***@h/s",
		"https://secret@h":          "https://***@h",
		"http://u:sec/ret@h":        "http://***@h",
		"http://u:sec?ret@h":        "http://***@h",
		"http://u:12/sec@ret@h/x":   "http://***@h/x",
		"u:se//cret@h:1":            "***@h:1",
		"u:se://cret@h:1":           "***@h:1",
		"https://h/?token=secret":   "https://h/?***",
		"https://u:secret@h/?t=sec": "https://***@h/?***",
		"a\x1bb":                    `a\x1bb`,
	} {
		if got := redact(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestThisHost(t *testing.T) {
	dir := write(t, map[string]string{"a.txt": "a"})
	h := ThisHost()
	if data, err := h.ReadFile(dir + "/a.txt"); string(data) != "a" || err != nil {
		t.Error(data, err)
	}
	if _, err := h.ReadFile(dir + "/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, name := range []string{dir, "/dev/zero"} {
		if _, err := h.ReadFile(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Error(name, err)
		}
	}
	if got, err := h.Glob(dir + "/*.txt"); len(got) != 1 || err != nil {
		t.Error(got, err)
	}
	if out, err := h.Run(t.Context(), "/bin/sh", "-c", "echo $LC_ALL"); string(out) != "C\n" || err != nil {
		t.Errorf("%q %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := h.Run(ctx, "/bin/sh", "-c", "sleep 30"); err == nil || time.Since(start) > 5*time.Second {
		t.Error(err, time.Since(start))
	}
}

// BenchmarkDetect is on this machine; the budget is 50 ms.
func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		if _, _, err := Detect(b.Context(), nil, ThisHost()); err != nil {
			b.Fatal(err)
		}
	}
}

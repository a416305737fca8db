//go:build integration

package e2e

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a wrong input may take until it is refused.
const patience = 10 * time.Second

// badInput is a mistake and what has to be said about it.
type badInput struct {
	name  string
	files []string // name and text in turn
	args  []string // FOLDER is the folder with the files
	stdin string
	code  int
	want  []string // place and remedy
}

func badInputs() []badInput {
	const script = "# /// script\n# requires-python = \"==3.11.*\"\n"
	return []badInput{
		{name: "missing file", args: []string{"FOLDER/train.py"}, code: 2, want: []string{"train.py", "no such file", "give a folder"}},
		{name: "missing Dockerfile", args: []string{"-f", "FOLDER/none.Dockerfile", "FOLDER"}, code: 2, want: []string{"none.Dockerfile", "no such"}},
		{name: "missing folder", args: []string{"FOLDER/none/"}, code: 2, want: []string{"none", "no such"}},
		{name: "folder with nothing to build", files: []string{"readme.txt", "x"}, args: []string{"FOLDER"}, code: 2, want: []string{"Dockerfile", "image.yaml", "-f"}},
		{name: "folder with two", files: []string{"Dockerfile", "FROM busybox\n", "image.yaml", "base_image: busybox\n"}, args: []string{"FOLDER"},
			code: 2, want: []string{"Dockerfile and image.yaml", "-f"}},
		{name: "source that is nowhere said", args: nil, code: 2, want: []string{"missing", "write ibuild build"}},
		{name: "script without header", files: []string{"train.py", "print('hello')\n"}, args: []string{"FOLDER/train.py"},
			code: 2, want: []string{"train.py", "# /// script", "# dependencies"}},
		{name: "script with an unclosed header", files: []string{"train.py", script + "print()\n"}, args: []string{"FOLDER/train.py"},
			code: 2, want: []string{"train.py:1", "# ///"}},
		{name: "malformed TOML", files: []string{"train.py", script + "# dependencies = [\"numpy\"\n# ///\n"}, args: []string{"FOLDER/train.py"},
			code: 2, want: []string{"train.py:", "TOML"}},
		{name: "requirement that is none", files: []string{"train.py", script + "# dependencies = [\"numpy >\"]\n# ///\n"}, args: []string{"FOLDER/train.py"},
			code: 2, want: []string{"train.py:3", "numpy >", "PEP 508"}},
		{name: "Python that is not there", files: []string{"train.py", "# /// script\n# requires-python = \"<3\"\n# ///\n"}, args: []string{"FOLDER/train.py"},
			code: 2, want: []string{"train.py:2", "3.11"}},
		{name: "malformed YAML", files: []string{"image.yaml", "base_image: busybox\nenv:\n  - a: [1\n"}, args: []string{"FOLDER"}, code: 2, want: []string{"image.yaml:"}},
		{name: "unknown key", files: []string{"image.yaml", "base_image: busybox\napt_package: [jq]\n"}, args: []string{"FOLDER"},
			code: 2, want: []string{"image.yaml:2", "apt_package", `did you mean "apt_packages"`}},
		{name: "all findings at once", files: []string{"image.yaml", "base_imag: busybox\nplatforms: [linux/amd65]\ncopy: [nowhere]\n"}, args: []string{"FOLDER"},
			code: 2, want: []string{"image.yaml:1", "image.yaml:2", "image.yaml:3", "nowhere"}},
		{name: "source folder that is missing", files: []string{"image.yaml", "base_image: busybox\nlayers:\n  - source_folder: src\n"}, args: []string{"FOLDER"},
			code: 2, want: []string{"image.yaml:3", "src"}},
		{name: "malformed Dockerfile", files: []string{"Dockerfile", "FROM busybox\nRUNN echo\n"}, args: []string{"FOLDER"},
			code: 2, want: []string{"Dockerfile:2", "RUNN", "did you mean RUN?"}},
		{name: "Dockerfile without a stage", files: []string{"Dockerfile", "RUN echo\n"}, args: []string{"FOLDER"}, code: 2, want: []string{"Dockerfile:1"}},
		{name: "stage that is missing", files: []string{"Dockerfile", "FROM busybox AS one\n"}, args: []string{"--target", "two", "FOLDER"}, code: 2, want: []string{"two"}},
		{name: "copied file that is missing", files: []string{"Dockerfile", "FROM busybox\nCOPY nowhere /\n"}, args: []string{"FOLDER"},
			code: 1, want: []string{"Dockerfile:2", "nowhere"}},
		{name: "foreign syntax", files: []string{"Dockerfile", "# syntax=somebody/frontend:1\nFROM busybox\n"}, args: []string{"FOLDER"},
			code: 2, want: []string{"Dockerfile:1", "somebody/frontend:1", "--allow-syntax"}},
		{name: "unknown platform", files: []string{"Dockerfile", "FROM busybox\n"}, args: []string{"--platform", "linux/amd65", "FOLDER"},
			code: 2, want: []string{"linux/amd65", "did you mean linux/amd64?"}},
		{name: "platform that the base lacks", files: []string{"Dockerfile", "FROM busybox\n"}, args: []string{"--platform", "linux/s390x", "FOLDER"},
			code: 2, want: []string{"busybox", "linux/s390x", "linux/amd64"}},
		{name: "base that does not exist", files: []string{"Dockerfile", "FROM busybox\nRUN true\nFROM REGISTRY/no-such-base:9\n"}, args: []string{"FOLDER"},
			code: 1, want: []string{"Dockerfile:3", "no-such-base:9", "not found", "hint:"}},
		{name: "base of a spec that does not exist", files: []string{"image.yaml", "workdir: /x\nbase_image: REGISTRY/no-such-base:9\n"}, args: []string{"FOLDER"},
			code: 1, want: []string{"image.yaml:2", "no-such-base:9", "not found", "hint:"}},
		{name: "base of a registry out of reach", files: []string{"Dockerfile", "FROM busybox\nRUN true\nFROM no-such-host.test/base:9\n"}, args: []string{"FOLDER"},
			code: 4, want: []string{"Dockerfile:3", "no-such-host.test", "out of reach", "hint:"}},
		{name: "unknown flag", files: []string{"Dockerfile", "FROM busybox\n"}, args: []string{"--platfrom", "linux/amd64", "FOLDER"},
			code: 2, want: []string{"--platfrom", "did you mean --platform"}},
		{name: "flag after the source", files: []string{"Dockerfile", "FROM busybox\n"}, args: []string{"FOLDER", "--push"}, code: 2, want: []string{"--push", "flags go first"}},
		{name: "flag of buildx that comes later", files: []string{"Dockerfile", "FROM busybox\n"}, args: []string{"--ssh", "default", "FOLDER"}, code: 2, want: []string{"--ssh", "not supported yet"}},
		{name: "git context", args: []string{"https://github.com/somebody/repo.git"}, code: 2, want: []string{"not supported yet", "clone"}},
		{name: "output of no kind", files: []string{"Dockerfile", "FROM busybox\n"}, args: []string{"-o", "type=ocy,dest=x", "FOLDER"}, code: 2, want: []string{"ocy", "did you mean type=oci?"}},
		{name: "secret that is nowhere", files: []string{"Dockerfile", "FROM busybox\n"}, args: []string{"--secret", "id=a,src=FOLDER/none", "FOLDER"}, code: 2, want: []string{"id=a", "none", "src=FILE"}},
		{name: "Dockerfile on standard input", stdin: "FROM busybox\nRUNN\n", args: []string{"-"}, code: 2, want: []string{":2", "RUNN"}},
	}
}

func TestBadInput(t *testing.T) {
	for _, x := range badInputs() {
		t.Run(x.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, e engine) {
				dir := files(t, x.files...)
				for i := 0; i < len(x.files); i += 2 {
					write(t, filepath.Join(dir, x.files[i]), strings.ReplaceAll(x.files[i+1], "REGISTRY", shared.env.Registry.Addr))
				}
				var args []string
				for _, a := range x.args {
					args = append(args, strings.Replace(a, "FOLDER", dir, 1))
				}
				o := failing{engine: e, code: x.code, texts: x.want, stdin: x.stdin}.run(t, args...)
				quick(t, o)
			})
		})
	}
}

func quick(t *testing.T, o outcome) {
	t.Helper()
	if o.took > patience {
		t.Errorf("it took %s", o.took)
	}
	if strings.Contains(o.stderr, "goroutine ") {
		t.Errorf("a panic:\n%s", o.stderr)
	}
}

// TestBuilderOutOfReach: nobody listens, no such socket, no such host.
func TestBuilderOutOfReach(t *testing.T) {
	e := engineNamed(t, "remote")
	for addr, want := range map[string]string{
		"tcp://127.0.0.1:1":            "buildkitd running",
		"unix:///no/such/place.sock":   "buildkitd running",
		"tcp://no-such-host.test:1234": "no-such-host.test",
	} {
		t.Run(strings.ReplaceAll(addr, "/", ""), func(t *testing.T) {
			dir := dockerfileSubject(t, e).source
			f := failing{engine: e, code: 4, texts: []string{addr, "cannot be reached", "hint:", want}}
			if strings.HasPrefix(addr, "unix") { // where TLS would be another mistake
				f.env = []string{"IBUILD_TLS_CA=", "IBUILD_TLS_CERT=", "IBUILD_TLS_KEY="}
			}
			quick(t, f.run(t, "--builder", addr, dir))
		})
	}
	t.Run("address that is none", func(t *testing.T) {
		quick(t, e.fails(t, 2, []string{"nonsense", "hint:"}, "--builder", "nonsense", dockerfileSubject(t, e).source))
	})
}

// TestWrongCertificate: one of another authority, none at all, and a CA that did not sign the server's.
func TestWrongCertificate(t *testing.T) {
	e, b := engineNamed(t, "remote"), shared.env.Buildkitd
	for name, test := range map[string]struct {
		env  []string
		want string
	}{
		"a stranger's":         {[]string{"IBUILD_TLS_CERT=" + b.Stranger.Cert, "IBUILD_TLS_KEY=" + b.Stranger.Key}, "certificate"},
		"none":                 {[]string{"IBUILD_TLS_CERT=", "IBUILD_TLS_KEY="}, "certificate"},
		"another authority":    {[]string{"IBUILD_TLS_CA=" + filepath.Join(filepath.Dir(b.CACert), "other-ca.pem")}, "not trusted"},
		"a file that is not":   {[]string{"IBUILD_TLS_CERT=/no/such/cert.pem"}, "/no/such/cert.pem"},
		"without a key at all": {[]string{"IBUILD_TLS_KEY="}, "key"},
	} {
		t.Run(name, func(t *testing.T) {
			o := failing{engine: e, code: certificateCode(name), texts: []string{test.want, "hint:"}, env: test.env}.run(t, dockerfileSubject(t, e).source)
			quick(t, o)
		})
	}
}

// certificateCode: what is wrong with the files is the command line's, the rest is about credentials.
func certificateCode(name string) int {
	if strings.HasPrefix(name, "a file") || strings.HasPrefix(name, "without") {
		return 2
	}
	return 3
}

// TestRegistryRefuses: a registry that takes no push, one that wants a login, one that is not there.
func TestRegistryRefuses(t *testing.T) {
	refuse := func(status int, header, value string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodGet && r.URL.Path == "/v2/" && status != http.StatusUnauthorized:
				return
			case (r.Method == http.MethodGet || r.Method == http.MethodHead) && status != http.StatusUnauthorized:
				http.NotFound(w, r)
				return
			}
			if header != "" {
				w.Header().Set(header, value)
			}
			http.Error(w, `{"errors":[{"code":"DENIED","message":"not for you"}]}`, status)
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	for name, test := range map[string]struct {
		host string
		code int
		want []string
	}{
		"forbidden":     {refuse(http.StatusForbidden, "", ""), 3, []string{"403", "hint:"}},
		"login":         {refuse(http.StatusUnauthorized, "WWW-Authenticate", `Basic realm="here"`), 3, []string{"401", "hint:", "docker login"}},
		"not listening": {"127.0.0.1:1", 4, []string{"127.0.0.1:1", "refused", "hint:"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, e engine) {
				for kind, source := range map[string]string{"dockerfile": dockerfileSubject(t, e).source, "spec": specSubject(t, e).source} {
					o := failing{engine: e, code: test.code, texts: test.want, ref: test.host + "/team/app:" + kind}.run(t, source)
					if o.took > 60*time.Second {
						t.Errorf("%s: it took %s", kind, o.took)
					}
					t.Logf("%s: %s", kind, o.took)
				}
			})
		})
	}
}

//go:build integration

package bootstrap

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ibuild/ibuild/runner/bootstrap/contract"
)

const says = `import importlib.metadata as m; print(m.version("ibuild-private-hello")); print(m.distribution("ibuild-private-hello").locate_file(""))`

// TestInstall installs with the real uv into the places that images have.
func TestInstall(t *testing.T) {
	index := packages(t)
	for _, c := range []struct {
		name    string
		user    uint32
		program func(b *box) []string
		into    string // part of where the packages went
	}{
		{"a virtual environment in PATH", 0, func(b *box) []string {
			b.env[0] = strings.Replace(b.env[0], "PATH=", "PATH="+b.venv(0)+"/bin:", 1)
			return []string{"python", "-c", says}
		}, "/venv/lib"},
		{"VIRTUAL_ENV", 0, func(b *box) []string {
			b.env = append(b.env, "VIRTUAL_ENV="+b.venv(0))
			return []string{"sh", "-c", "exec $VIRTUAL_ENV/bin/python -c '" + says + "'"}
		}, "/venv/lib"},
		{"an interpreter by its path", 0, func(b *box) []string { return []string{b.venv(0) + "/bin/python3", "-c", says} }, "/venv/lib"},
		{"an environment of its own, as nobody", nobody, func(b *box) []string { return []string{b.venv(nobody) + "/bin/python", "-c", says} }, "/venv/lib"},
		{"another user's environment", nobody, func(b *box) []string { return []string{b.venv(0) + "/bin/python", "-c", says} }, "/ibuild-packages-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, c.user)
			b.env = append(b.env, "UV_INDEX_URL="+index)
			args := c.program(b)
			code, m := b.run(contract.Request{Install: b.file("requirements.txt", "ibuild-private-hello==1.0\n", 0o644), Program: args})
			if code != 0 || m.Phase != contract.PhaseRun {
				t.Fatalf("%d: %+v\n%s", code, m, b.stderr.String())
			}
			if got := b.out.String(); !strings.HasPrefix(got, "1.0\n") || !strings.Contains(got, c.into) {
				t.Errorf("%q, not in %s", got, c.into)
			}
			for _, progress := range []string{"ibuild: installing ", " with uv for Python 3", "ibuild-private-hello==1.0", "ibuild: installed in "} {
				if !strings.Contains(b.stderr.String(), progress) {
					t.Errorf("%q is not in %s", progress, b.stderr.String())
				}
			}
		})
	}
}

// TestInstallManaged: packages stay out of an interpreter that the distribution manages, and are found all the same.
func TestInstallManaged(t *testing.T) {
	const system = "/usr/bin/python3"
	managed, err := command(system, "-c", "import sysconfig, os; print(os.path.exists(sysconfig.get_path('stdlib') + '/EXTERNALLY-MANAGED'))")
	if err != nil || strings.TrimSpace(managed) != "True" {
		t.Skip("this machine's " + system + " is not managed by its distribution")
	}
	b := newBox(t, 0)
	b.env = append(b.env, "UV_INDEX_URL="+packages(t))
	code, m := b.run(contract.Request{Install: b.file("requirements.txt", "ibuild-private-hello\n", 0o644),
		Program: []string{"sh", "-c", "ibuild-private-hello && exec " + system + " -c '" + says + "'"}})
	if code != 0 || !strings.Contains(b.out.String(), "ibuild-private-hello 1.1\n1.1\n"+b.dir+"/ibuild-packages-") {
		t.Errorf("%d: %+v, %q\n%s", code, m, b.out.String(), b.stderr.String())
	}
}

func TestInstallFails(t *testing.T) {
	index := packages(t)
	for name, c := range map[string]struct {
		change func(b *box, r *contract.Request)
		words  []string
	}{
		"no such package":   {func(b *box, r *contract.Request) { r.Install = b.file("r", "ibuild-no-such-package\n", 0o644) }, []string{"uv ended with", "ibuild-no-such-package"}},
		"not a requirement": {func(b *box, r *contract.Request) { r.Install = b.file("r", "a b c\n", 0o644) }, []string{"uv ended with", "a b c"}},
		"no index": {func(b *box, _ *contract.Request) {
			b.env = append(b.env, "UV_INDEX_URL=http://127.0.0.1:1/", "UV_HTTP_RETRIES=0")
		}, []string{"uv ended with", "127.0.0.1"}},
		"no requirements": {func(b *box, r *contract.Request) { r.Install = b.dir + "/none" }, []string{"cannot be read", "/none"}},
		"no uv":           {func(b *box, _ *contract.Request) { b.env[0] = "PATH=/usr/bin:/bin" }, []string{"no uv", "build-image"}},
		"no python":       {func(b *box, _ *contract.Request) { b.env[0] = "PATH=" + uvBin }, []string{"no python in PATH"}},
		"a python that is none": {func(b *box, r *contract.Request) {
			r.Program[0] = b.file("python3", "#!/bin/sh\necho no; exit 4\n", 0o755)
		}, []string{"does not run", "exit status 4"}},
		"nowhere to write": {func(b *box, _ *contract.Request) {
			b.user, b.env = nobody, append(b.env, "TMPDIR=/proc")
			if err := os.Chmod(b.dir, 0o755); err != nil {
				t.Error(err)
			}
		}, []string{"cannot be written", "mount an emptyDir"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, 0)
			b.env = append(b.env, "UV_INDEX_URL="+index)
			r := contract.Request{Install: b.file("requirements.txt", "ibuild-private-hello\n", 0o644), Program: []string{"python3", "-c", "print('NOT RUN')"}}
			if name != "no python" {
				r.Program[0] = b.venv(0) + "/bin/python3"
			}
			if name == "no python" {
				r.Program = []string{"/bin/true"}
			}
			c.change(b, &r)
			code, m := b.run(r)
			if code != contract.ExitBootstrap || m.Phase != contract.PhaseInstall || (m.ExitCode != 0) != strings.HasPrefix(c.words[0], "uv ended") {
				t.Errorf("%d: %+v\n%s", code, m, b.stderr.String())
			}
			for _, word := range c.words {
				if !strings.Contains(m.Message, word) {
					t.Errorf("%q is not in the message %q", word, m.Message)
				}
			}
			if strings.Contains(b.out.String(), "NOT RUN") {
				t.Error("the program ran")
			}
		})
	}
}

// TestInstallEnds: a time limit and SIGTERM end an installation, too.
func TestInstallEnds(t *testing.T) {
	asked := make(chan struct{}, 100)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	for name, c := range map[string]struct {
		timeout time.Duration
		code    int
		phase   string
	}{
		"time limit": {3 * time.Second, contract.ExitTimeout, contract.PhaseTimeout},
		"SIGTERM":    {0, 143, contract.PhaseInstall},
	} {
		b := newBox(t, 0)
		b.env = append(b.env, "UV_INDEX_URL="+silent.URL)
		b.start(contract.Request{Install: b.file("requirements.txt", "ibuild-private-hello\n", 0o644), Timeout: c.timeout,
			Program: []string{b.venv(0) + "/bin/python3", "-c", "print('NOT RUN')"}})
		select {
		case <-asked:
		case <-time.After(30 * time.Second):
			t.Fatalf("uv asks nothing: %s", b.stderr.String())
		}
		if c.timeout == 0 {
			if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		code, m := b.wait()
		if code != c.code || m.Phase != c.phase || strings.Contains(b.out.String(), "NOT RUN") {
			t.Errorf("%s: %d, %+v\n%s", name, code, m, b.stderr.String())
		}
	}
}

// TestInstallWithoutHome: a user without a home has no place for uv's cache.
func TestInstallWithoutHome(t *testing.T) {
	b := newBox(t, 0)
	b.env = append(b.env, "UV_INDEX_URL="+packages(t), "HOME=/proc/none")
	code, m := b.run(contract.Request{Install: b.file("requirements.txt", "ibuild-private-hello\n", 0o644), Program: []string{b.venv(0) + "/bin/python", "-c", says}})
	if code != 0 || !strings.HasPrefix(b.out.String(), "1.1\n") {
		t.Errorf("%d: %+v\n%s", code, m, b.stderr.String())
	}
	if _, err := os.Stat("/proc/none"); err == nil {
		t.Error("a home was made")
	}
}

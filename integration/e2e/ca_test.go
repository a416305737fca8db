//go:build integration

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/ibuild/ibuild/integration/imagetest"
)

// caBundle is where an image's own certificates are; llb.SystemCA says why.
const caBundle = "/etc/ssl/certs/ca-certificates.crt"

// caSpec installs from a site with a certificate of a private authority in every way that there is: uv, pip, Python's
// own client and apt.
func caSpec() string {
	site := shared.env.Sites.TLS
	return `python_version: "3.11"
pip_index: ` + site.Index() + `
packages: [ibuild-private-hello==1.1]
commands:
  - python -c "import urllib.request as u; u.urlopen('` + site.URL + `/apt/Release').read()"
  - /usr/local/bin/python3 -m pip install -q --target /opt/other --index-url ` + site.Index() + ` ibuild-newest-sdist==1.0
  - rm -rf /etc/apt/sources.list.d && echo '` + site.AptSource() + `' > /etc/apt/sources.list
  - apt-get update -oAPT::Update::Error-Mode=any && apt-get install -y --no-install-recommends ibuild-deb-hello && rm -rf /var/lib/apt/lists/*
entrypoint: [sh, -c, "ibuild-private-hello; ibuild-deb-hello; python -c \"import urllib.request as u; print(u.urlopen('` + site.URL + `/simple/').status)\""]
`
}

// machines are those that inject a bundle of their own into steps, and those that do not.
func machines(t *testing.T) map[string][]string {
	t.Helper()
	none := filepath.Join(files(t, "config.toml", read(t, shared.env.IbuildConfig())+"[packages]\nca = []\n"), "config.toml")
	own := filepath.Join(files(t, "own.pem", read(t, shared.env.Buildkitd.CACert)), "own.pem")
	some := filepath.Join(files(t, "config.toml", read(t, shared.env.IbuildConfig())+"[packages]\nca = [\""+own+"\"]\n"), "config.toml")
	return map[string][]string{
		"a machine without certificates": {"IBUILD_CONFIG=" + none},
		"a machine with its own":         {"IBUILD_CONFIG=" + some},
		"this machine":                   nil,
	}
}

// TestCACertificates: with the company's certificate everything works, while the image is made and when it runs.
func TestCACertificates(t *testing.T) {
	certificate := read(t, shared.env.Sites.TLS.CACert)
	dir := files(t, "image.yaml", "ca_certificates: [company.pem]\n"+caSpec(), "company.pem", "# the company's\n"+certificate)
	for machine, env := range machines(t) {
		list := rootAndRemote(t)
		if env == nil { // this machine is like one of the others
			list = list[:1]
		}
		t.Run(machine, func(t *testing.T) {
			enginesAtOnce(t, list, func(t *testing.T, e engine) {
				e = e.fresh(t)
				ref := shared.env.Registry.Ref("certificates/" + e.name + ":" + filepath.Base(e.dir) + filepath.Base(folder(t)))
				cmd := e.command(t, "build", "--progress", "plain", "--no-cache", "--push", "-t", ref, dir)
				cmd.Env = append(cmd.Env, env...)
				mustEnd(t, cmd)
				img := pull(t, ref, amd64)
				prints(t, img, noOptions, "ibuild-private-hello 1.1\nhello from a .deb\n200\n")
				trusts(t, img, certificate)
				if foreign := read(t, shared.env.Buildkitd.CACert); strings.Contains(bundleOf(t, img), body(foreign)) {
					t.Error("the machine's own certificate is in the image")
				}
			})
		})
	}
}

// trusts wants the certificate in the image's bundle, and the variables by which programs find that.
func trusts(t *testing.T, img v1.Image, certificate string) {
	t.Helper()
	if !strings.Contains(bundleOf(t, img), body(certificate)) {
		t.Error("the certificate is not in the image's bundle")
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
		if !slices.Contains(config.Config.Env, name+"="+caBundle) {
			t.Errorf("%s is not %s: %q", name, caBundle, config.Config.Env)
		}
	}
}

func bundleOf(t *testing.T, img v1.Image) string {
	t.Helper()
	var bundle []byte
	err := imagetest.View(t.Context(), img, func(root string) (err error) {
		bundle, err = os.ReadFile(filepath.Join(root, caBundle))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(bundle)
}

// body is a certificate without the lines around it.
func body(certificate string) string {
	_, text, _ := strings.Cut(certificate, "-----BEGIN CERTIFICATE-----\n")
	text, _, _ = strings.Cut(text, "\n-----END")
	return text
}

// TestWithoutCACertificates: what the certificate is for fails without it, each by itself.
func TestWithoutCACertificates(t *testing.T) {
	e, site := engineNamed(t, "root"), shared.env.Sites.TLS
	const start = "python_version: '3.11'\n"
	for name, spec := range map[string]string{
		"uv":     start + "pip_index: " + site.Index() + "\npackages: [ibuild-private-hello]\n",
		"python": start + "commands: [\"python -c \\\"import urllib.request as u; u.urlopen('" + site.URL + "/apt/Release')\\\"\"]\n",
		"pip":    start + "commands: [/usr/local/bin/python3 -m pip install --index-url " + site.Index() + " ibuild-private-hello]\n",
		"apt": start + "commands: [\"rm -rf /etc/apt/sources.list.d && echo '" + site.AptSource() + "' > /etc/apt/sources.list\", " +
			"'apt-get update -oAPT::Update::Error-Mode=any -oAcquire::Retries=0']\n",
	} {
		t.Run(name, func(t *testing.T) {
			mark := site.Mark()
			o := e.fails(t, 1, nil, files(t, "image.yaml", spec))
			if text := strings.ToLower(o.stderr); !strings.Contains(text, "certificate") {
				t.Errorf("it fails for another reason:\n%s", o.stderr)
			}
			if got := site.Requests(mark); len(got) > 0 {
				t.Errorf("the site was asked all the same: %v", got)
			}
		})
	}
}

package llb

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// SystemCA is where an image's own CA bundle is once it has certificates of a company: Debian's place, which
// other distributions get a link at.
const SystemCA = "/etc/ssl/certs/ca-certificates.crt"

// caScript puts the mounted certificates where the distribution's own tool takes them from, or adds them to
// the bundle where it has none.
const caScript = `set -eu
dir=/usr/local/share/ca-certificates
if [ -d /etc/pki/ca-trust/source/anchors ]; then dir=/etc/pki/ca-trust/source/anchors; fi
mkdir -p "$dir" /etc/ssl/certs
cp /run/ibuild/ca/*.crt "$dir/"
if command -v update-ca-certificates >/dev/null; then update-ca-certificates >/dev/null
elif command -v update-ca-trust >/dev/null; then update-ca-trust extract
else cat /run/ibuild/ca/*.crt >>/etc/ssl/certs/ca-certificates.crt; fi
if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
  for f in /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
    if [ -e "$f" ]; then ln -s "$f" /etc/ssl/certs/ca-certificates.crt; break; fi
  done
fi
if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then cat /run/ibuild/ca/*.crt >/etc/ssl/certs/ca-certificates.crt; fi`

// CACertificates makes an image trust the CA certificates in the given files (PEM): its own bundle has them,
// and the variables by which programs with a bundle of their own (Python's requests, uv, Node.js) find it
// are set. names are for people.
func CACertificates(names []string, files [][]byte, at Lines) []Step {
	e := Exec{
		Title: "CA certificates: " + strings.Join(names, " "), Lines: at, Root: true,
		Args: []string{"/bin/sh", "-c", caScript},
	}
	for _, data := range files {
		name := fmt.Sprintf("ibuild-%s.crt", digest.FromBytes(data).Encoded()[:16])
		e.Mounts = append(e.Mounts, Mount{Kind: DataMount, Target: "/run/ibuild/ca/" + name, Data: data})
	}
	return []Step{
		e,
		Env{Lines: at, Key: "SSL_CERT_FILE", Value: SystemCA},
		Env{Lines: at, Key: "REQUESTS_CA_BUNDLE", Value: SystemCA},
		Env{Lines: at, Key: "NODE_EXTRA_CA_CERTS", Value: SystemCA},
	}
}

// WithCA adds certificates (PEM) to the machine's own bundle, so that steps of an image with certificates of
// its own trust both. Without a bundle, or certificates, m is as it was.
func (m Machine) WithCA(pem []byte) Machine {
	bundle, ok := m.Files[MachineCA]
	if !ok || len(pem) == 0 {
		return m
	}
	files := map[string][]byte{}
	for k, v := range m.Files {
		files[k] = v
	}
	files[MachineCA] = bytes.Join([][]byte{bytes.TrimRight(bundle, "\n"), pem}, []byte("\n"))
	m.Files = files
	return m
}

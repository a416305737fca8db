package spec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// testCA is a certificate of a CA that was made for this test.
func testCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestCertificates(t *testing.T) {
	dir, ca := t.TempDir(), testCA(t)
	writeTo(t, filepath.Join(dir, "ca.pem"), "a comment\n"+ca)
	writeTo(t, filepath.Join(dir, "key.pem"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	writeTo(t, filepath.Join(dir, "text.pem"), "hello")
	writeTo(t, filepath.Join(dir, "bad.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	plan, err := DebianBase("").WithCACertificates("ca.pem").WithPipPackages(PipOptions{}, "x").Plan(placeOf(dir).Source)
	if err != nil {
		t.Fatal(err)
	}
	if string(plan.CA) != ca {
		t.Errorf("the plan has %q", plan.CA)
	}
	err = DebianBase("").WithCACertificates("key.pem", "text.pem", "bad.pem", "no.pem", "/etc/x").Validate(dir)
	for _, want := range []string{`"key.pem" holds a PRIVATE KEY`, `"text.pem" has no certificate in it`, `"bad.pem" holds a certificate that cannot be read`, `there is no "no.pem"`, `"/etc/x" is not relative`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

// TestCertificatesComeFirst: no step that may ask a network runs before the certificates are there, wherever an
// image starts and whatever it installs.
func TestCertificatesComeFirst(t *testing.T) {
	t.Setenv("KAGGLE_DOCKER_IMAGE", "")
	dir := checkout(t)
	writeTo(t, filepath.Join(dir, "ca.pem"), testCA(t))
	writeTo(t, filepath.Join(dir, "script.py"), "# /// script\n# requires-python = '==3.12.*'\n# dependencies = ['rich']\n# ///\n")
	writeTo(t, filepath.Join(dir, "base.yaml"), "python_version: '3.12'\napt_packages: [git]\n")
	starts := map[string]string{
		"Debian":     "python_version: '3.12'\n",
		"an image":   "base_image: debian:12\n",
		"its Python": "base_image: python:3.12\npython_exec: python3\n",
		"a spec":     "base_image: ./base.yaml\n",
		"a script":   "uv_script: script.py\n",
		"TensorFlow": "tensorflow_cloud: {tensorflow: 2.16.2, requirements: requirements.txt}\n",
	}
	for name, start := range starts {
		text := start + "ca_certificates: [ca.pem]\nplatform_packages: [flyte]\nlayers: [{apt: [curl]}, {run: curl https://host}, {pip: [numpy]}]\n"
		plan, err := Load(source.Source{Name: "image.yaml", Dir: dir, Data: []byte(text)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var ran []string
		for _, s := range plan.Image.Steps {
			if e, ok := s.(llb.Exec); ok {
				ran = append(ran, e.Title)
			}
		}
		if len(ran) < 4 || ran[0] != "CA certificates: ca.pem" {
			t.Errorf("%s: the steps that run something are %q", name, ran)
		}
	}
}

package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/ibuild/ibuild/llb"
)

// maxSecret is what BuildKit takes for one secret.
const maxSecret = 500 * 1024

// systemBundles are where distributions keep the certificates that the machine trusts.
func systemBundles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Alpine, Arch
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL 7
		"/etc/ssl/cert.pem",                                 // macOS, BSD
	}
}

// localAnchors are where distributions keep the certificates that a machine's administrator has added.
func localAnchors() []string {
	return []string{
		"/usr/local/share/ca-certificates/*.crt",
		"/usr/local/share/ca-certificates/*/*.crt",
		"/etc/pki/ca-trust/source/anchors/*",
		"/etc/pki/trust/anchors/*",
		"/etc/ca-certificates/trust-source/anchors/*",
	}
}

// certificates makes the CA bundle of the steps and reports whether there is one.
func (d *detector) certificates(system *bundle, systemPath string, pip setting, apt []setting) (bool, error) {
	if d.cfg.CA != nil && len(d.cfg.CA) == 0 {
		d.note("CA certificates: none are carried, as %s says", d.configFile())
		return false, nil
	}
	extra := &bundle{}
	var from []string
	if d.cfg.CA != nil {
		for _, path := range d.cfg.CA {
			data, err := d.host.ReadFile(path)
			if err == nil {
				err = extra.addStrict(data)
			}
			if err != nil {
				return false, &Error{File: path, Msg: "the CA certificates cannot be used: " + cause(err), Err: err,
					Hint: "mend packages.ca in " + d.configFile()}
			}
		}
		from = []string{d.configFile()}
	} else {
		from = d.namedCertificates(extra, pip, apt, systemPath)
	}
	if len(from) == 0 {
		anchor := d.localAnchor()
		if anchor == "" || len(system.certs) == 0 {
			return false, nil
		}
		from = []string{anchor}
	}
	if len(system.certs) == 0 {
		d.note("CA certificates: this machine has no bundle of its own, so steps trust those named and no others")
	}
	own := len(system.certs)
	system.join(extra)
	data, dropped := system.encode(maxSecret, time.Now())
	if data == nil {
		return false, &Error{File: strings.Join(from, ", "),
			Msg:  fmt.Sprintf("the CA certificates of this machine are %d kB, and a build step can be given %d kB", system.size()>>10, maxSecret>>10),
			Hint: "name the files that are needed in [packages] ca of the configuration file, or none with ca = []"}
	}
	if dropped > 0 {
		d.note("CA certificates: %d that are out of date or replaced are left out, to stay below %d kB", dropped, maxSecret>>10)
	}
	d.note("CA certificates: %d, %d of them not in %s (from %s)", len(system.certs)-dropped, len(system.certs)-own, orNone(systemPath), strings.Join(from, ", "))
	d.machine.Files[llb.MachineCA] = data
	for _, name := range []string{"CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"} {
		d.set(name, llb.MachineFile(llb.MachineCA))
	}
	return true, nil
}

func orNone(path string) string {
	if path == "" {
		return "a system bundle"
	}
	return path
}

// systemBundle is what the machine itself trusts, and where that is.
func (d *detector) systemBundle() (*bundle, string) {
	for _, path := range systemBundles() {
		data, err := d.host.ReadFile(path)
		if err != nil {
			continue
		}
		b := &bundle{}
		b.add(data)
		if len(b.certs) > 0 {
			return b, path
		}
	}
	return &bundle{}, ""
}

// namedCertificates adds the files that variables and tools name, and returns the names of those that have
// something to add, the system's own bundle included.
func (d *detector) namedCertificates(to *bundle, pip setting, apt []setting, systemPath string) (from []string) {
	named := append([]setting{d.env("SSL_CERT_FILE"), d.env("REQUESTS_CA_BUNDLE"), pip, d.env("CURL_CA_BUNDLE")}, apt...)
	seen := map[string]bool{}
	for _, s := range named {
		if s.value == "" {
			continue
		}
		if s.value != systemPath && !seen[s.value] {
			data, err := d.host.ReadFile(s.value)
			if err != nil {
				d.note("CA certificates: %s, named by %s, is not used: %s", s.value, s.from, cause(err))
				continue
			}
			found, bad := to.add(data)
			if bad > 0 {
				d.note("CA certificates: %d in %s, named by %s, are not certificates and not used", bad, s.value, s.from)
			}
			if found == 0 {
				d.note("CA certificates: %s, named by %s, is not used: there are none in it", s.value, s.from)
				continue
			}
		}
		seen[s.value] = true
		if !slices.Contains(from, s.from) {
			from = append(from, s.from)
		}
	}
	return from
}

// localAnchor is a file that the machine's administrator has added, "" when there is none.
func (d *detector) localAnchor() string {
	for _, pattern := range localAnchors() {
		paths, err := d.host.Glob(pattern)
		if err != nil {
			continue
		}
		for _, path := range paths {
			if _, err := d.host.ReadFile(path); err == nil || errors.Is(err, fs.ErrPermission) {
				return path
			}
		}
	}
	return ""
}

package spec

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"time"

	"github.com/ibuild/ibuild/frontends/source"
	"github.com/ibuild/ibuild/llb"
)

// certificate is a file with CA certificates.
type certificate struct {
	name  string
	data  []byte // PEM, certificates only
	lines llb.Lines
}

// readCertificates reads the image's certificates; they go into the base, below every other step, whichever
// spec names them.
func (l *lowering) readCertificates() {
	for i, name := range l.img.ca {
		at := l.img.marks.at("ca_certificates", i)
		if !l.checkSource(name, at) || l.folder == nil {
			continue
		}
		if _, dir, ok := l.find(name, at); !ok || dir {
			if dir {
				l.fail(at, fmt.Sprintf("%q is a folder", l.folder.show(name)), "name the files with certificates")
			}
			continue
		}
		data, err := l.folder.read(name, source.SpecLimit)
		if err != nil {
			l.fail(at, fmt.Sprintf("%q cannot be read: %v", l.folder.show(name), err), "")
			continue
		}
		if clean, ok := l.checkCertificates(name, data, at); ok {
			l.ca = append(l.ca, certificate{name: name, data: clean, lines: l.lines(at)})
		}
	}
}

// checkCertificates takes the certificates out of a file, without the comments around them.
func (l *lowering) checkCertificates(name string, data []byte, at mark) ([]byte, bool) {
	var out bytes.Buffer
	shown := l.folder.show(name)
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			l.fail(at, fmt.Sprintf("%q holds a %s", shown, block.Type), "give a file with nothing but CA certificates: everybody who has the image could read it")
			return nil, false
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			l.fail(at, fmt.Sprintf("%q holds a certificate that cannot be read: %v", shown, err), "")
			return nil, false
		}
		if !c.IsCA {
			l.warn(at, fmt.Sprintf("%q: the certificate of %q is not that of a CA", shown, c.Subject.CommonName), "most programs trust CA certificates only")
		}
		if time.Now().After(c.NotAfter) {
			l.warn(at, fmt.Sprintf("%q: the certificate of %q has expired on %s", shown, c.Subject.CommonName, c.NotAfter.Format(time.DateOnly)), "")
		}
		out.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
	}
	if out.Len() == 0 {
		l.fail(at, fmt.Sprintf("%q has no certificate in it", shown), "certificates are in PEM form: -----BEGIN CERTIFICATE-----")
		return nil, false
	}
	return out.Bytes(), true
}

// lowerCertificates adds the certificates right after the base.
func (l *lowering) lowerCertificates() {
	if len(l.ca) == 0 {
		return
	}
	var files [][]byte
	var names []string
	for _, c := range l.ca {
		files, names = append(files, c.data), append(names, c.name)
	}
	l.steps = append(l.steps, llb.CACertificates(names, files, l.ca[0].lines)...)
}

// read reads a file of the folder, at most limit bytes.
func (f *folder) read(name string, limit int64) ([]byte, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return nil, pathless(err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it is larger than the limit of %d MiB", limit>>20)
	}
	return data, err
}

package settings

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// bundle is a list of certificates, each once, in the order in which they came.
type bundle struct {
	certs []*x509.Certificate
	have  map[string]bool
}

// add adds the certificates in a PEM file and counts those found, also when the bundle had them, and those
// that do not parse. What else is in the file, such as a private key, is passed over.
func (b *bundle) add(data []byte) (found, bad int) {
	if b.have == nil {
		b.have = map[string]bool{}
	}
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return found, bad
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if !b.have[string(block.Bytes)] {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				bad++
				continue
			}
			b.have[string(block.Bytes)] = true
			b.certs = append(b.certs, cert)
		}
		found++
	}
}

// addStrict is add for a file that the user has named: all in it has to be a certificate.
func (b *bundle) addStrict(data []byte) error {
	switch found, bad := b.add(data); {
	case bad > 0:
		return fmt.Errorf("%d of its certificates cannot be parsed", bad)
	case found == 0:
		return errors.New("there are no PEM certificates in it")
	}
	return nil
}

// join adds the certificates of another bundle.
func (b *bundle) join(other *bundle) {
	if b.have == nil {
		b.have = map[string]bool{}
	}
	for _, c := range other.certs {
		if !b.have[string(c.Raw)] {
			b.have[string(c.Raw)] = true
			b.certs = append(b.certs, c)
		}
	}
}

// size is the length of the bundle as PEM.
func (b *bundle) size() int { return len(encodePEM(b.certs)) }

// encode is the bundle as PEM. When it is larger than limit, certificates that are out of date at now are
// left out, and those that have been replaced: same name and key as one that is valid for longer. It is nil
// when this is not enough.
func (b *bundle) encode(limit int, now time.Time) (data []byte, dropped int) {
	if data := encodePEM(b.certs); len(data) <= limit {
		return data, 0
	}
	latest := map[string]*x509.Certificate{}
	id := func(c *x509.Certificate) string { return string(c.RawSubject) + string(c.RawSubjectPublicKeyInfo) }
	for _, c := range b.certs {
		if l := latest[id(c)]; l == nil || c.NotAfter.After(l.NotAfter) {
			latest[id(c)] = c
		}
	}
	var kept []*x509.Certificate
	for _, c := range b.certs {
		if latest[id(c)] == c && now.Before(c.NotAfter) {
			kept = append(kept, c)
		}
	}
	if data = encodePEM(kept); len(data) > limit {
		return nil, 0
	}
	return data, len(b.certs) - len(kept)
}

func encodePEM(certs []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certs {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out.Bytes()
}

package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// KeyPair names the PEM files of a certificate and its key.
type KeyPair struct {
	Cert string
	Key  string
}

// Authority is a certificate authority that lives as long as its environment.
// Its methods may be called from several goroutines.
type Authority struct {
	File string // the authority's own certificate

	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// New makes an authority that writes into dir.
func New(dir, name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate(Subject{Name: name})
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, cert: cert, key: key, File: filepath.Join(dir, name+".pem")}
	return a, writePEM(a.File, "CERTIFICATE", der, 0o644)
}

// Subject is whom a certificate is for.
type Subject struct {
	Name   string   // also that of its files
	Groups []string // what Kubernetes takes for groups: the subject's organizations
	Hosts  []string // names of a server besides localhost
	IPs    []net.IP // addresses of a server besides 127.0.0.1
}

// Issue makes a certificate for one use and returns its files, which only the
// owner of this process can read the key of.
func (a *Authority) Issue(s Subject, use x509.ExtKeyUsage) (KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, err
	}
	template := certificate(s)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{use}
	template.DNSNames = append([]string{"localhost"}, s.Hosts...)
	template.IPAddresses = append([]net.IP{net.IPv4(127, 0, 0, 1)}, s.IPs...)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return KeyPair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return KeyPair{}, err
	}
	pair := KeyPair{
		Cert: filepath.Join(a.dir, s.file()+".pem"),
		Key:  filepath.Join(a.dir, s.file()+"-key.pem"),
	}
	if err := writePEM(pair.Cert, "CERTIFICATE", der, 0o644); err != nil {
		return KeyPair{}, err
	}
	return pair, writePEM(pair.Key, "PRIVATE KEY", keyDER, 0o600)
}

// file is the subject's name without what a file's name cannot have.
func (s Subject) file() string { return url.PathEscape(s.Name) }

// certificate is what all certificates here have in common. It is valid since
// yesterday, for clocks that differ a little.
func certificate(s Subject) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: s.Name, Organization: s.Groups},
		NotBefore:    now.AddDate(0, 0, -1),
		NotAfter:     now.AddDate(0, 0, 7),
	}
}

func writePEM(file, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

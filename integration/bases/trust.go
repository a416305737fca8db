package bases

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
)

// extraCertificates are the authorities that this machine trusts beside the
// public ones, as PEM blocks: those in its bundle that Debian's
// ca-certificates package does not bring. Elsewhere than on Debian and its
// children, where the package's files cannot be told apart, there are none.
func extraCertificates() [][]byte {
	public := map[string]bool{}
	files, _ := filepath.Glob("/usr/share/ca-certificates/mozilla/*.crt")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, block := range certificates(data) {
			public[string(block)] = true
		}
	}
	if len(public) == 0 {
		return nil
	}
	bundle, err := os.ReadFile(bundleFile())
	if err != nil {
		return nil
	}
	var extra [][]byte
	for _, block := range certificates(bundle) {
		if !public[string(block)] {
			extra = append(extra, block)
		}
	}
	return extra
}

// bundleFile is where programs on this machine look for authorities.
func bundleFile() string {
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		return file
	}
	return "/etc/ssl/certs/ca-certificates.crt"
}

// certificates splits a bundle; each block is spelled the same way wherever it
// comes from.
func certificates(bundle []byte) [][]byte {
	var blocks [][]byte
	for {
		block, rest := pem.Decode(bytes.TrimSpace(bundle))
		if block == nil {
			return blocks
		}
		if block.Type == "CERTIFICATE" {
			blocks = append(blocks, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
		bundle = rest
	}
}

package pyindex

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

// wheel makes the release's wheel: the code, and the files by which installers
// know it, the list of all files with their digests last.
func (r release) wheel() ([]byte, error) {
	info := r.stem() + ".dist-info/"
	files := []file{
		r.code(),
		{info + "METADATA", r.metadata()},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: ibuild\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "entry_points.txt", r.entryPoints()},
	}
	record := ""
	for _, f := range files {
		sum := sha256.Sum256([]byte(f.text))
		record += fmt.Sprintf("%s,sha256=%s,%d\n", f.path, base64.RawURLEncoding.EncodeToString(sum[:]), len(f.text))
	}
	files = append(files, file{info + "RECORD", record + info + "RECORD,,\n"})

	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.path, Method: zip.Deflate, Modified: epoch()}
		header.SetMode(0o644)
		w, err := archive.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// epoch is the time that all files bear.
func epoch() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }

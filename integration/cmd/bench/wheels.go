package main

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// wheelList are packages that ML people wait for, small ones first: together more than 2 GB when they are unpacked.
var wheelList = [][2]string{{"numpy", "2.3.5"}, {"scipy", "1.16.3"}, {"pandas", "2.3.3"}, {"scikit-learn", "1.7.2"}, {"pyarrow", "21.0.0"},
	{"opencv-python-headless", "4.11.0.86"}, {"transformers", "4.57.1"}, {"torch", "2.7.1"}}

// wheels fills a folder with files of real wheels, size bytes in all (or one file more). They are downloaded once, into
// the cache folder of the tests, and linked or copied from there.
func (b *bench) wheels(dir string, size int64) error {
	left := size
	for _, w := range wheelList {
		from, err := b.wheel(w[0], w[1])
		if err != nil {
			return fmt.Errorf("wheel %s %s: %w", w[0], w[1], err)
		}
		if left, err = linkTree(from, dir, left); err != nil || left <= 0 {
			return err
		}
	}
	return fmt.Errorf("the wheels have %d bytes less than is asked for", left)
}

// linkTree puts files of a folder into another one until so many bytes are there, and returns how many are left.
func linkTree(from, to string, left int64) (int64, error) {
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if left <= 0 {
			return fs.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		left -= info.Size()
		if os.Link(name, target) == nil {
			return nil
		}
		return copyFile(name, target)
	})
	return left, err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeFile(to, in)
}

func writeFile(name string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}

// wheel returns the folder with an unpacked wheel.
func (b *bench) wheel(name, version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "ibuild-test", "wheels", name+"-"+version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintf(os.Stderr, "downloading %s %s (once)\n", name, version)
	file := dir + ".whl"
	defer os.Remove(file)
	if err := b.downloadWheel(name, version, file); err != nil {
		return "", err
	}
	partial := dir + ".part"
	if err := errors.Join(os.RemoveAll(partial), unzip(file, partial)); err != nil {
		return "", err
	}
	return dir, os.Rename(partial, dir)
}

// downloadWheel gets the wheel for CPython 3.11 on this machine from PyPI, and checks its digest.
func (b *bench) downloadWheel(name, version, to string) error {
	var page struct {
		Files []struct {
			Filename, URL string
			Hashes        struct{ SHA256 string }
		}
	}
	if err := b.download(pages+"/simple/"+name+"/", func(r io.Reader) error { return json.NewDecoder(r).Decode(&page) }); err != nil {
		return err
	}
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	fits := regexp.MustCompile(`^` + regexp.QuoteMeta(strings.ReplaceAll(name, "-", "_")+"-"+version) +
		`-(cp311-cp311|cp3\d+-abi3|py3-none)-(any|manylinux\S*_` + arch + `)\.whl$`)
	for _, f := range page.Files {
		if !fits.MatchString(f.Filename) {
			continue
		}
		sum := sha256.New()
		err := b.download(f.URL, func(r io.Reader) error { return writeFile(to, io.TeeReader(r, sum)) })
		if got := hex.EncodeToString(sum.Sum(nil)); err == nil && got != f.Hashes.SHA256 {
			err = fmt.Errorf("%s has the digest %s, not %s", f.Filename, got, f.Hashes.SHA256)
		}
		return err
	}
	return fmt.Errorf("%s has no wheel for CPython 3.11 on linux/%s", pages, runtime.GOARCH)
}

func (b *bench) download(url string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/vnd.pypi.simple.v1+json, */*;q=0.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return read(resp.Body)
}

func unzip(file, dir string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("%s is outside of the archive", f.Name)
		}
		if f.FileInfo().IsDir() {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		err = writeFile(filepath.Join(dir, f.Name), r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

package condachannel

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.yaml.in/yaml/v3"
)

func newChannel(t *testing.T) Channel {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSameBytesEveryTime(t *testing.T) {
	if a, b := newChannel(t), newChannel(t); !maps.EqualFunc(a.Files, b.Files, bytes.Equal) {
		t.Error("two channels differ")
	}
}

// index is what a client reads of a subdir.
type index struct {
	Packages map[string]struct {
		Name, Version, Subdir, SHA256 string
		Depends                       []string
		Size                          int
	} `json:"packages.conda"`
}

func TestIndexDescribesFiles(t *testing.T) {
	c := newChannel(t)
	described := 0
	for _, subdir := range Subdirs() {
		plain := c.Files[subdir+"/repodata.json"]
		if got := decompress(t, c.Files[subdir+"/repodata.json.zst"]); !bytes.Equal(got, plain) {
			t.Errorf("%s: the compressed index says %s", subdir, got)
		}
		var i index
		if err := json.Unmarshal(plain, &i); err != nil {
			t.Fatal(err)
		}
		for name, record := range i.Packages {
			described++
			data := c.Files[path.Join(subdir, name)]
			sum := sha256.Sum256(data)
			if len(data) == 0 || record.Size != len(data) || record.SHA256 != hex.EncodeToString(sum[:]) || record.Subdir != subdir || record.Depends == nil {
				t.Errorf("%s/%s: %d bytes, %+v", subdir, name, len(data), record)
			}
		}
	}
	if others := len(Subdirs()) * 2; described != 5 || len(c.Files) != described+others {
		t.Errorf("%d packages are described, the channel has %q", described, slices.Sorted(maps.Keys(c.Files)))
	}
}

func TestPackageContents(t *testing.T) {
	data := newChannel(t).Files["linux-aarch64/"+packages()[0].file("linux-aarch64")]
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range z.File {
		if f.Method != zip.Store || f.Flags&8 != 0 { // 8: sizes come after the contents
			t.Errorf("%s: method %d, flags %x", f.Name, f.Method, f.Flags)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.Name, ".tar.zst") {
			untar(t, decompress(t, content), files)
		}
	}
	if script := files["bin/ibuild-hello"]; !strings.Contains(script, placeholder) || !strings.Contains(script, "linux-aarch64") {
		t.Errorf("the script is %q", script)
	}
	if !strings.Contains(files["info/paths.json"], `"prefix_placeholder":"`+placeholder) {
		t.Errorf("paths.json is %s", files["info/paths.json"])
	}
	if names := slices.Sorted(maps.Keys(files)); len(names) != 5 || files["info/files"] != "bin/ibuild-hello\n" {
		t.Errorf("the package has %q and lists %q", names, files["info/files"])
	}
}

func untar(t *testing.T, data []byte, files map[string]string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(content)
	}
}

func decompress(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := zstd.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestPixiLockNamesFiles(t *testing.T) {
	c := newChannel(t)
	var lock struct {
		Packages []struct{ URL, SHA256 string }
	}
	if err := yaml.Unmarshal([]byte(c.PixiLock("http://host/conda")), &lock); err != nil {
		t.Fatal(err)
	}
	for _, p := range lock.Packages {
		sum := sha256.Sum256(c.Files[strings.TrimPrefix(p.URL, "http://host/conda/")])
		if p.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s has digest %s in the lock, its file has %x", p.URL, p.SHA256, sum)
		}
	}
	if len(lock.Packages) != 3 {
		t.Errorf("the lock has %d packages, want 3", len(lock.Packages))
	}
}

package registry

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestWriteLayoutAgain(t *testing.T) {
	m := newMemory()
	dir := t.TempDir()
	write := func(root ocispecs.Descriptor, names ...string) Transferred {
		t.Helper()
		m.root = root
		p, err := Pack(ctx(t), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		traffic := &Traffic{}
		if err := WriteLayout(ctx(t), dir, Delivery{p, names}, traffic); err != nil {
			t.Fatal(err)
		}
		return traffic.Now()
	}
	amd, arm := m.image(t, amd64), m.image(t, arm64)
	write(amd, "one", "team/app:1")
	write(arm, "two")
	if now := write(amd, "three"); now.Moved.Blobs != 0 || now.There.Blobs != 3 || now.Settled != now.Total {
		t.Errorf("the same image again: %+v", now)
	}
	write(arm, "one") // another image of that name
	write(amd)
	write(amd)
	l := opened(t, dir)
	for name, want := range map[string]ocispecs.Descriptor{"one": arm, "two": arm, "three": amd, "team/app:1": amd} {
		if img, err := l.Find(name); err != nil || img.Root.Digest != want.Digest {
			t.Errorf("%s: %+v, %v", name, img, err)
		}
	}
	data, err := l.read(ocispecs.ImageIndexFile, maxArchiveIndex)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := decodeDocument(data, defaultLimits())
	if err != nil || len(doc.index) != 5 {
		t.Errorf("%d entries: %v\n%s", len(doc.index), err, data)
	}

	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Pack(ctx(t), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	var refused *LayoutError
	if err := WriteLayout(ctx(t), other, Delivery{p, nil}, nil); !errors.As(err, &refused) {
		t.Errorf("a folder with other things: %v", err)
	}
}

// What fails or is ended leaves no half of a file, and what was left by a killed process goes.
func TestWriteLayoutFails(t *testing.T) {
	m := newMemory()
	m.root = m.image(t, amd64)
	p, err := Pack(ctx(t), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	good := p.Blobs[1].Open
	p.Blobs[1].Open = func(offset int64) (io.ReadCloser, error) {
		rc, err := good(offset)
		return readerAtCloser{io.LimitReader(rc, 3), rc}, err
	}
	if err := WriteLayout(ctx(t), dir, Delivery{p, nil}, nil); err == nil {
		t.Error("a blob that is too short was written")
	}
	if _, err := os.Stat(filepath.Join(dir, ocispecs.ImageIndexFile)); err == nil {
		t.Error("the image can be seen")
	}
	left := filepath.Join(dir, blobPath(p.Blobs[1].Digest)+partSuffix)
	if _, err := os.Stat(left); err == nil {
		t.Error("a part is left")
	}
	if err := os.WriteFile(left, []byte("killed"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.Blobs[1].Open = good
	if err := WriteLayout(ctx(t), dir, Delivery{p, nil}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("the part of a killed process is left")
	}

	l, err := openLayoutFolder(ctx(t), dir) // another process that writes
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	ended, cancel := context.WithCancel(ctx(t))
	cancel()
	if err := WriteLayout(ended, dir, Delivery{p, nil}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for another: %v", err)
	}
}

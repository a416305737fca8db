package llb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
)

// SourceFiles are the files that a Copy step brings, as its identity has them. They are for one goroutine.
type SourceFiles struct {
	// List has them in the order of paths, which begin at the source's root. It is shared: nobody changes it.
	List []LocalFile

	local   Local
	visitor *visitor // nil until the first file is opened
}

// SourceFiles lists what the step s of the image brings. What the identity of this build was made of is not looked
// at again (see [Plan.WithSums]), so what is made of the list has that identity, whatever happens to the folder.
func (img *Image) SourceFiles(ctx context.Context, s Copy) (*SourceFiles, error) {
	local, ok := img.Locals[s.Local]
	if !ok {
		return nil, fmt.Errorf("%s: %q: %w", s.Src, s.Local, errNoLocal)
	}
	local = local.withSums()
	l, err := (&localSource{name: s.Local, local: local, attrs: s.rules().attrs()}).list(ctx)
	if err != nil {
		return nil, err
	}
	return &SourceFiles{List: l.files, local: local}, nil
}

// Open opens List[i], which is a file, for reading. Bytes that are not those of its digest end with an error in
// place of the last of them.
func (f *SourceFiles) Open(i int) (io.ReadCloser, error) {
	e := &f.List[i]
	if f.local.Files != nil {
		return io.NopCloser(bytes.NewReader(f.local.Files[e.Path])), nil
	}
	want := fileSum{key: fileKey{size: e.Size}}
	if _, err := hex.Decode(want.sum[:], []byte(e.Digest.Encoded())); err != nil {
		return nil, err
	}
	p := filepath.FromSlash(e.Path)
	v, err := f.visit()
	if err != nil {
		return nil, err
	}
	file, err := v.openFile(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", changedError{p}, err)
	}
	return &checkedFile{file: file, path: p, want: want, sums: f.local.sums, hash: sha256.New()}, nil
}

// Xattrs are the names of the extended attributes that count of List[i], sorted. They are looked up anew.
func (f *SourceFiles) Xattrs(i int) ([]string, error) {
	if f.local.Files != nil {
		return nil, nil
	}
	v, err := f.visit()
	if err != nil {
		return nil, err
	}
	attrs, err := v.disk.readXattrs(filepath.FromSlash(f.List[i].Path))
	return countedXattrs(attrs), err
}

func (f *SourceFiles) visit() (*visitor, error) {
	if f.visitor != nil {
		return f.visitor, nil
	}
	d, err := newDisk(f.local.Dir)
	if err == nil {
		f.visitor, err = d.visit()
	}
	return f.visitor, err
}

// Close closes the folders that were opened. Files that are open stay open, and further ones can be opened.
func (f *SourceFiles) Close() {
	if f.visitor != nil {
		f.visitor.close()
		f.visitor = nil
	}
}

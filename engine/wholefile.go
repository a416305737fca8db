package engine

import "io"

// WholeFile is a file that appears at its place when all of it is there, for those who write large ones. A link stays a
// link, and what is not a regular file (a pipe, a device, "-" for standard output) is written into.
type WholeFile struct {
	w io.WriteCloser
	o *outputs
}

// CreateFile begins a file. The caller ends with [WholeFile.Commit] or [WholeFile.Discard], or both.
// Errors are those of the file system; *FullError for a full disk, also from Write and Commit.
func CreateFile(name string) (*WholeFile, error) {
	o := &outputs{}
	w, err := o.create(name)
	if err != nil {
		o.discard()
		return nil, err
	}
	return &WholeFile{w, o}, nil
}

// Write writes at the end of what is not seen yet.
func (f *WholeFile) Write(p []byte) (int, error) { return f.w.Write(p) }

// Commit lets the file appear. On an error, the file that was there before is still there.
func (f *WholeFile) Commit() error {
	if err := f.w.Close(); err != nil {
		f.o.discard()
		return err
	}
	return f.o.commit()
}

// Discard removes what was written; after Commit it does nothing.
func (f *WholeFile) Discard() {
	_ = f.w.Close() // again, after Commit
	f.o.discard()
}

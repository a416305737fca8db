package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Open opens a regular file of fsys. What else there may be at name is refused before it is opened: who opens
// a named pipe waits for somebody who writes to it, and a device might never end.
func Open(fsys fs.FS, name string) (fs.File, error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("it is a folder")
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	return fsys.Open(name)
}

// ReadFile reads a regular file of fsys; one of more than limit bytes is an error. Its errors are causes
// without the file's name (an fs.PathError has it all the same), for the caller to put into a finding.
func ReadFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := Open(fsys, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("it is larger than the limit of %s", size(limit))
	}
	return data, nil
}

package testenv

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// workPrefix begins the name of every work folder.
const workPrefix = "ibuild-test-"

// cacheFolder is where tools and base images are kept from run to run.
func cacheFolder(dir string) (string, error) {
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", &MissingError{What: "a cache folder", Hint: "set HOME or XDG_CACHE_HOME"}
		}
		dir = filepath.Join(user, "ibuild-test")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// link makes the file from appear as to, without copying where it can.
func link(from, to string) error {
	if err := os.Link(from, to); err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// syncWriter lets several goroutines write lines to one writer.
type syncWriter struct {
	mu sync.Mutex
	to io.Writer
}

func newSyncWriter(to io.Writer) *syncWriter {
	if to == nil {
		to = io.Discard
	}
	return &syncWriter{to: to}
}

func (w *syncWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

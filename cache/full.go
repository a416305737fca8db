package cache

import (
	"errors"
	"fmt"
	"syscall"
)

// Hints of the errors about space.
const (
	hintFull  = "`ibuild cache du` says what fills it, `ibuild cache prune` frees it"
	hintLimit = "`ibuild cache prune` makes room, and max_size in [cache] of the settings is the limit"
)

// FullError says that something could not be written because its disk, or the user's quota on it, is full.
type FullError struct {
	Path string // what could not be written, or its folder
	Used int64  // bytes that the cache takes, 0 when that is not known
	Err  error  // ENOSPC or EDQUOT is in it
}

// Error names the place, and how much of the disk is the cache's.
func (e *FullError) Error() string {
	msg := "the disk of " + e.Path + " is full"
	if errors.Is(e.Err, syscall.EDQUOT) {
		msg = "the quota on the disk of " + e.Path + " is used up"
	}
	if e.Used > 0 {
		msg += fmt.Sprintf(": %s of it are ibuild's cache", FormatSize(e.Used))
	}
	return msg
}

// Hint says how to mend it.
func (e *FullError) Hint() string { return hintFull }

// Unwrap returns the cause.
func (e *FullError) Unwrap() error { return e.Err }

// IsFull says whether a disk or a quota is full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// full makes a FullError of an error that is about a full disk, and leaves others as they are.
func (s *Store) full(err error) error {
	var known *FullError
	if err == nil || !IsFull(err) || errors.As(err, &known) {
		return err
	}
	used, _ := s.measure(claims{}) // without it, it is not said
	return &FullError{Path: s.dir, Used: used, Err: err}
}

// warnFull tells people that the cache remembers nothing as its disk is full.
func (s *Store) warnFull(err error) {
	s.warnOnce("full", "%v, so nothing more is remembered; %s", s.full(err), hintFull)
}

// FormatSize writes a number of bytes for people, with a unit of powers of 1000: 1.2 MB.
func FormatSize(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	f, u := float64(n), 0
	for f >= 999.5 && u < len(units)-1 {
		f, u = f/1000, u+1
	}
	if u == 0 || f >= 99.5 {
		return fmt.Sprintf("%.0f %s", f, units[u])
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}

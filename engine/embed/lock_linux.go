package embed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockName   = "lock"
	holderSize = 4096 // more than writeHolder ever writes
)

// stateLock is the exclusive right to a state folder.
//
// BuildKit's databases lock themselves too, but wait without end and without a
// word; and with a timeout, its SafeOpen would take a locked database for a
// broken one and move it away. So this lock comes first and never waits.
//
// It is a flock(2) on an open file that a child process inherits: the folder is
// free when both have closed it, so never while anyone has the databases open.
type stateLock struct {
	file *os.File
}

func lockState(root string) (*stateLock, error) {
	f, err := os.OpenFile(filepath.Join(root, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, lockSetupError(err)
	}
	if err := tryLock(f, root); err != nil {
		f.Close()
		return nil, err
	}
	s := &stateLock{file: f}
	if err := s.writeHolder(); err != nil {
		s.release()
		return nil, lockSetupError(err)
	}
	return s, nil
}

// dyingHolder is how long a killed holder's child may take to end; it takes
// some 20 ms.
const dyingHolder = 2 * time.Second

// tryLock does not wait, unless the holder is dead and only its child, which the
// kernel is about to kill, has the lock still.
func tryLock(f *os.File, root string) error {
	for end := time.Now().Add(dyingHolder); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return lockSetupError(err)
		}
		locked := lockedError(root, io.NewSectionReader(f, 0, holderSize))
		if locked.PID == 0 || alive(locked.PID) || time.Now().After(end) {
			return locked
		}
	}
}

// alive is true for another user's process too, and in doubt.
func alive(pid int) bool { return !errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

// release gives the folder back. The file stays: if it were removed, a process
// that has it open and one that makes it anew could both hold "the" lock.
func (s *stateLock) release() {
	_ = s.file.Truncate(0)
	_ = s.file.Close()
}

func (s *stateLock) writeHolder() error {
	if err := s.file.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(io.NewOffsetWriter(s.file, 0), "%d\n%s\n", os.Getpid(), commandLine(os.Args))
	return err
}

// commandLine is what tells one ibuild from another in a message: the command's
// name and its first words. It ends at the first option, because options may
// have secrets as their values.
func commandLine(args []string) string {
	const most = 3
	if len(args) == 0 {
		return ""
	}
	words := []string{filepath.Base(args[0])}
	for _, a := range args[1:] {
		if strings.HasPrefix(a, "-") || len(words) == most {
			break
		}
		words = append(words, strings.Join(strings.Fields(a), " "))
	}
	return strings.Join(words, " ")
}

func lockSetupError(err error) error {
	return &SetupError{Kind: SetupRoot, Err: err,
		Problem: "the engine's state folder cannot be locked",
		Hint:    "Choose a folder on a local file system that you can write to."}
}

func lockedError(root string, holder io.Reader) *LockedError {
	e := &LockedError{Root: root,
		Hint: "Wait for it to end, or give this build a state folder of its own."}
	e.PID, e.Command, _ = parseHolder(holder)
	return e
}

// parseHolder reads what writeHolder wrote.
func parseHolder(r io.Reader) (pid int, command string, err error) {
	b, err := io.ReadAll(io.LimitReader(r, holderSize))
	if err != nil {
		return 0, "", err
	}
	first, rest, _ := strings.Cut(string(b), "\n")
	if pid, err = strconv.Atoi(first); err != nil || pid <= 0 {
		return 0, "", errors.New("the lock file does not name its holder")
	}
	return pid, strings.TrimSpace(rest), nil
}

package embed

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/sys/user"
)

// idRange is a range of subordinate ids in /etc/subuid or /etc/subgid.
type idRange struct {
	start, count uint64
}

// idMaps are the ids of a user namespace: the user is root in it, and the
// subordinate ids follow from 1 on.
type idMaps struct {
	uid, gid int // of the user
	subuids  []idRange
	subgids  []idRange
	uidTool  string // newuidmap
	gidTool  string // newgidmap
}

// currentIDMaps finds all that is needed to map the current user's ids, or says
// what is missing.
func currentIDMaps() (idMaps, error) {
	m := idMaps{uid: os.Getuid(), gid: os.Getgid()}
	name := userName(m.uid)
	var err error
	if m.uidTool, err = exec.LookPath("newuidmap"); err == nil {
		m.gidTool, err = exec.LookPath("newgidmap")
	}
	if err != nil {
		return m, &SetupError{Kind: SetupIDMap, Err: err,
			Problem: "to build as an ordinary user, newuidmap and newgidmap have to be installed",
			Hint:    "Debian, Ubuntu: apt install uidmap; Fedora: dnf install shadow-utils; Alpine: apk add shadow-uidmap. Or use a remote builder."}
	}
	if m.subuids, err = readSubIDs("/etc/subuid", name, m.uid); err != nil {
		return m, err
	}
	m.subgids, err = readSubIDs("/etc/subgid", name, m.uid)
	return m, err
}

// userName is the name that newuidmap will know the user by: from /etc/passwd, or from other directories
// through getent. Not from os/user, which believes $USER when there is no cgo.
func userName(uid int) string {
	if u, err := user.LookupUid(uid); err == nil {
		return u.Name
	}
	id := strconv.Itoa(uid)
	if out, err := exec.Command("getent", "passwd", id).Output(); err == nil {
		if name, _, ok := strings.Cut(string(out), ":"); ok {
			return name
		}
	}
	return id
}

func readSubIDs(file, name string, uid int) ([]idRange, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, noSubIDs(file, name, err)
	}
	defer f.Close()
	ranges := parseSubIDs(f, name, uid)
	if len(ranges) == 0 {
		return nil, noSubIDs(file, name, nil)
	}
	return ranges, nil
}

// parseSubIDs reads the lines "owner:start:count" of a user; the owner is a name
// or a number. Lines that make no sense are left out, as newuidmap does.
func parseSubIDs(r io.Reader, name string, uid int) []idRange {
	var ranges []idRange
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		parts := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(parts) != 3 || parts[0] != name && parts[0] != strconv.Itoa(uid) {
			continue
		}
		start, err1 := strconv.ParseUint(parts[1], 10, 32)
		count, err2 := strconv.ParseUint(parts[2], 10, 32)
		if err1 != nil || err2 != nil || count == 0 {
			continue
		}
		ranges = append(ranges, idRange{start, count})
	}
	return ranges
}

func noSubIDs(file, name string, cause error) error {
	return &SetupError{Kind: SetupIDMap, Err: cause,
		Problem: fmt.Sprintf("%s has no range of subordinate ids for the user %s", file, name),
		Hint:    fmt.Sprintf("As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s (with a range that no other user has). Or use a remote builder.", name)}
}

// mapArguments are newuidmap's arguments after the process id: triples of the id
// inside, the id outside and the count.
func mapArguments(own int, sub []idRange) []string {
	args := []string{"0", strconv.Itoa(own), "1"}
	next := uint64(1)
	for _, r := range sub {
		args = append(args, strconv.FormatUint(next, 10), strconv.FormatUint(r.start, 10), strconv.FormatUint(r.count, 10))
		next += r.count
	}
	return args
}

// apply writes the maps of the process's user namespace.
func (m idMaps) apply(ctx context.Context, pid int) error {
	var wg sync.WaitGroup
	var uidErr, gidErr error
	wg.Go(func() { uidErr = runMapTool(ctx, m.uidTool, pid, mapArguments(m.uid, m.subuids)) })
	wg.Go(func() { gidErr = runMapTool(ctx, m.gidTool, pid, mapArguments(m.gid, m.subgids)) })
	wg.Wait()
	if uidErr != nil {
		return uidErr
	}
	return gidErr
}

func runMapTool(ctx context.Context, tool string, pid int, args []string) error {
	cmd := exec.CommandContext(ctx, tool, append([]string{strconv.Itoa(pid)}, args...)...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if text := bytes.TrimSpace(out); len(text) > 0 {
		err = fmt.Errorf("%w: %s", err, text)
	}
	hint := fmt.Sprintf("%s has to be setuid root or have file capabilities, and the ranges in /etc/subuid and /etc/subgid must not overlap. Reinstall its package (uidmap or shadow-utils), or use a remote builder.", tool)
	if noNewPrivs() {
		hint = "This process runs with no_new_privs, so that setuid programs do not work, as in a container with allowPrivilegeEscalation: false. Allow it, or use a remote builder."
	}
	return &SetupError{Kind: SetupIDMap, Err: err, Problem: "the ids of the user namespace could not be mapped", Hint: hint}
}

func noNewPrivs() bool {
	b, err := os.ReadFile("/proc/self/status")
	return err == nil && bytes.Contains(b, []byte("NoNewPrivs:\t1"))
}

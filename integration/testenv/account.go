package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// testUser is the account that the harness creates when root runs it.
const testUser = "ibuild-test"

// subIDs is how many subordinate ids a user needs to run builds: those of an
// ordinary image, nobody (65534) included.
const subIDs = 65536

// ensureAccount finds or creates the test account and its id ranges. The lock
// keeps two test processes from doing so at once.
func ensureAccount(ctx context.Context, lockDir string) (*user.User, error) {
	lock := flock.New(filepath.Join(lockDir, "account.lock"))
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return nil, err
	}
	defer lock.Close()

	account, err := user.Lookup(testUser)
	if errors.As(err, new(user.UnknownUserError)) {
		err = runQuietly(ctx, "useradd", "--no-create-home", "--home-dir", "/nonexistent",
			"--shell", "/bin/sh", "--comment", "runs ibuild's tests", testUser)
		if err == nil {
			account, err = user.Lookup(testUser)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", testUser, err)
	}
	if hasSubIDs(account) {
		return account, nil // useradd gives ranges where login.defs says so
	}
	return account, addSubIDs(ctx)
}

func addSubIDs(ctx context.Context) error {
	for file, option := range map[string]string{"/etc/subuid": "--add-subuids", "/etc/subgid": "--add-subgids"} {
		taken, err := readSubIDs(file)
		if err != nil {
			return err
		}
		first := nextSubID(taken)
		ids := fmt.Sprintf("%d-%d", first, first+subIDs-1)
		if err := runQuietly(ctx, "usermod", option, ids, testUser); err != nil {
			return err
		}
	}
	return nil
}

func runQuietly(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// subIDRange is one line of /etc/subuid or /etc/subgid.
type subIDRange struct {
	owner        string
	first, count int
}

// hasSubIDs says whether both files give the account a range that is enough.
func hasSubIDs(account *user.User) bool {
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		ranges, err := readSubIDs(file)
		if err != nil || !rangeFor(ranges, account) {
			return false
		}
	}
	return true
}

func rangeFor(ranges []subIDRange, account *user.User) bool {
	for _, r := range ranges {
		if (r.owner == account.Username || r.owner == account.Uid) && r.count >= subIDs {
			return true
		}
	}
	return false
}

// nextSubID is the first id above all ranges.
func nextSubID(ranges []subIDRange) int {
	next := 100000
	for _, r := range ranges {
		next = max(next, r.first+r.count)
	}
	return next
}

func readSubIDs(file string) ([]subIDRange, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSubIDs(f)
}

func parseSubIDs(r io.Reader) ([]subIDRange, error) {
	var ranges []subIDRange
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(fields) != 3 {
			continue // comments and blank lines
		}
		first, err1 := strconv.Atoi(fields[1])
		count, err2 := strconv.Atoi(fields[2])
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("subordinate ids %q: %w", lines.Text(), err)
		}
		ranges = append(ranges, subIDRange{fields[0], first, count})
	}
	return ranges, lines.Err()
}

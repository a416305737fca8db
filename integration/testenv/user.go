package testenv

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// User is an account that programs run as, with folders of this environment
// alone.
type User struct {
	Name    string
	UID     int
	GID     int
	Home    string
	Runtime string // what XDG_RUNTIME_DIR says
}

// current is the account that runs the harness.
func current(dir string) (User, error) {
	account, err := user.Current()
	if err != nil {
		return User{}, err
	}
	return newUser(account, dir)
}

// ordinary is an account without root's rights that may use subordinate ids.
// Root gets one created; anybody else is one already, and must have ids.
func ordinary(ctx context.Context, dir, lockDir string) (User, error) {
	if os.Geteuid() != 0 {
		me, err := user.Current()
		if err != nil {
			return User{}, err
		}
		if !hasSubIDs(me) {
			return User{}, &MissingError{
				What: "a range of subordinate ids for " + me.Username,
				Hint: "ask root to run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 " + me.Username,
			}
		}
		return newUser(me, dir)
	}
	account, err := ensureAccount(ctx, lockDir)
	if err != nil {
		return User{}, err
	}
	return newUser(account, dir)
}

// newUser makes the folders of an account under dir.
func newUser(account *user.User, dir string) (User, error) {
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return User{}, err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return User{}, err
	}
	u := User{
		Name: account.Username, UID: uid, GID: gid,
		Home:    filepath.Join(dir, "home", account.Username),
		Runtime: filepath.Join(dir, "run", account.Username),
	}
	return u, errors.Join(u.Mkdir(u.Home), u.Mkdir(u.Runtime))
}

// Mkdir makes a folder that belongs to the user alone.
func (u User) Mkdir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return u.own(dir)
}

// own gives a file to the user; only root can give files away, and only root
// has to.
func (u User) own(file string) error {
	if u.UID == os.Geteuid() {
		return nil
	}
	return os.Lchown(file, u.UID, u.GID)
}

// attributes run a program as the user, without root's other groups.
func (u User) attributes() *syscall.SysProcAttr {
	if u.UID == os.Geteuid() {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{
		Uid: uint32(u.UID), Gid: uint32(u.GID), Groups: []uint32{},
	}}
}

// environ is a clean environment, but for how to reach the network, which is
// the machine's and not the account's.
func (u User) environ(binDir string) []string {
	env := []string{
		"HOME=" + u.Home,
		"USER=" + u.Name,
		"LOGNAME=" + u.Name,
		"XDG_RUNTIME_DIR=" + u.Runtime,
		"LANG=C.UTF-8",
		"PATH=" + binDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
	for _, name := range []string{
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CERT", "UV_INDEX_URL", "UV_DEFAULT_INDEX",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

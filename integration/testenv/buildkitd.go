package testenv

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/moby/buildkit/client"

	"github.com/ibuild/ibuild/integration/authority"
	"github.com/ibuild/ibuild/integration/process"
)

// Buildkitd is a rootless BuildKit daemon with mutual TLS.
type Buildkitd struct {
	Addr   string // tcp://127.0.0.1:port of the recording proxy
	CACert string // what a client must trust
	authority.KeyPair
	Stranger authority.KeyPair // a client certificate of another authority, to be refused

	direct  string // the daemon's own address
	proxy   *tcpProxy
	process *process.Process
	cleanup func() error
}

// Mark returns the present end of the connection log.
func (b *Buildkitd) Mark() Mark { return b.proxy.mark() }

// Connections returns the connections that were made after the mark, oldest
// first; the zero mark gives all. Those of Client are not among them.
func (b *Buildkitd) Connections(since Mark) []Connection { return b.proxy.since(since) }

// Client returns a client of the daemon that goes past the recording proxy, so
// that what a test itself asks is not taken for a build.
func (b *Buildkitd) Client(ctx context.Context) (*client.Client, error) {
	return b.dial(ctx, b.direct, b.KeyPair)
}

func (b *Buildkitd) dial(ctx context.Context, addr string, pair authority.KeyPair) (*client.Client, error) {
	return client.New(ctx, addr,
		client.WithServerConfig("127.0.0.1", b.CACert),
		client.WithCredentials(pair.Cert, pair.Key))
}

// buildkitdOptions is what a daemon is made from.
type buildkitdOptions struct {
	dir    string // for what root may see: certificates, settings, logs
	binDir string // has rootlesskit and buildkitd
	user   User
	config string // contents of buildkitd.toml
}

// startBuildkitd runs the daemon as the user, in namespaces of its own, so that
// whatever a build starts ends with it.
func startBuildkitd(ctx context.Context, o buildkitdOptions) (_ *Buildkitd, err error) {
	runc, err := findProgram("runc")
	if err != nil {
		return nil, err
	}
	for _, helper := range []string{"newuidmap", "newgidmap"} {
		if _, err := findProgram(helper); err != nil {
			return nil, err
		}
	}
	b := &Buildkitd{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	server, err := b.certificates(o)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(o.dir, "buildkitd.toml")
	if err := os.WriteFile(config, []byte(o.config), 0o644); err != nil {
		return nil, err
	}
	root := filepath.Join(o.dir, "root")
	if err := o.user.Mkdir(root); err != nil {
		return nil, err
	}
	b.cleanup = func() error { return removeMapped(o, root) }

	cmd := exec.Command(filepath.Join(o.binDir, "rootlesskit"),
		"--net=host", "--copy-up=/run", "--pidns", "--state-dir="+filepath.Join(o.user.Runtime, "rootlesskit"),
		filepath.Join(o.binDir, "buildkitd"), "--rootless", "--config", config, "--root", root,
		"--addr", "tcp://127.0.0.1:0", // the kernel picks a port, the log says which
		"--tlscacert", b.CACert, "--tlscert", server.Cert, "--tlskey", server.Key,
		"--containerd-worker=false", "--oci-worker-binary", runc, "--oci-worker-no-process-sandbox")
	cmd.Env = o.user.environ(o.binDir)
	cmd.Dir = o.user.Home
	cmd.SysProcAttr = o.user.attributes()
	if b.process, err = process.Start(cmd, "buildkitd", filepath.Join(o.dir, "buildkitd.log")); err != nil {
		return nil, err
	}
	if err := b.process.WaitFor(ctx, b.ready); err != nil {
		return nil, err
	}
	if b.proxy, err = startTCPProxy(strings.TrimPrefix(b.direct, "tcp://")); err != nil {
		return nil, err
	}
	b.Addr = "tcp://" + b.proxy.listener.Addr().String()
	return b, nil
}

// certificates makes those of server, client and stranger, and returns the
// server's.
func (b *Buildkitd) certificates(o buildkitdOptions) (authority.KeyPair, error) {
	dir := filepath.Join(o.dir, "certs")
	ca, err := authority.New(dir, "ca")
	if err != nil {
		return authority.KeyPair{}, err
	}
	other, err := authority.New(dir, "other-ca")
	if err != nil {
		return authority.KeyPair{}, err
	}
	b.CACert = ca.File
	if b.KeyPair, err = issue(ca, "client", x509.ExtKeyUsageClientAuth, o.user); err != nil {
		return authority.KeyPair{}, err
	}
	if b.Stranger, err = issue(other, "stranger", x509.ExtKeyUsageClientAuth, o.user); err != nil {
		return authority.KeyPair{}, err
	}
	return issue(ca, "server", x509.ExtKeyUsageServerAuth, o.user)
}

// ready learns the daemon's address and asks it for its workers.
func (b *Buildkitd) ready(ctx context.Context) error {
	log, err := os.ReadFile(b.process.Log)
	if err != nil {
		return err
	}
	addr, ok := listenAddress(log)
	if !ok {
		return errors.New("does not listen yet")
	}
	b.direct = "tcp://" + addr
	c, err := b.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	workers, err := c.ListWorkers(ctx)
	if err == nil && len(workers) == 0 {
		err = errors.New("has no workers")
	}
	return err
}

// listenAddress finds the address that the daemon's log says it serves.
func listenAddress(log []byte) (string, bool) {
	found := regexp.MustCompile(`running server on (127\.0\.0\.1:\d+)`).FindSubmatch(log)
	if found == nil {
		return "", false
	}
	return string(found[1]), true
}

// removeMapped removes a folder with files of subordinate ids. Root just can;
// anybody else has to enter the namespace in which the ids are theirs.
func removeMapped(o buildkitdOptions, dir string) error {
	if os.Geteuid() == 0 {
		return os.RemoveAll(dir)
	}
	cmd := exec.Command(filepath.Join(o.binDir, "rootlesskit"), "rm", "-rf", dir)
	cmd.Env = o.user.environ(o.binDir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("remove %s: %w: %s", dir, err, out)
	}
	return nil
}

// findProgram finds a program of an OS package.
func findProgram(name string) (string, error) {
	file, err := exec.LookPath(name)
	if err != nil {
		return "", &MissingError{What: name, Hint: "run integration/deps.sh"}
	}
	return file, nil
}

// close stops the proxy and the daemon and removes what it built.
func (b *Buildkitd) close() error {
	if b == nil {
		return nil
	}
	errs := []error{b.proxy.close(), b.process.Stop()}
	if b.cleanup != nil {
		errs = append(errs, b.cleanup())
	}
	return errors.Join(errs...)
}

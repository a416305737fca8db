package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ibuild/ibuild/integration/authority"
	"github.com/ibuild/ibuild/integration/process"
	"github.com/ibuild/ibuild/integration/workfolder"
)

// Options says what a cluster has. The zero value is a control plane without
// nodes.
type Options struct {
	Nodes []Node // to be ready before Start returns

	// Loopback are the addresses, 127.0.0.1:port, of servers of the test that
	// nodes and pods reach under the same addresses. The nodes speak plain HTTP
	// with them when they pull images.
	Loopback []string

	Cache string    // folder for the programs; default in the user's cache folder
	Log   io.Writer // told what takes time; nil for silence
}

// Cluster is a running cluster. Its methods may be called from several
// goroutines.
type Cluster struct {
	Dir    string            // work folder, gone after Close
	Server string            // URL of the API server
	Admin  string            // kubeconfig file of somebody who may do everything
	Client dynamic.Interface // as the admin

	http     *http.Client // as the admin
	folder   *workfolder.Folder
	network  *network
	programs programs
	ca       *authority.Authority
	pause    *pauseServer
	log      io.Writer

	mu        sync.Mutex
	proxies   []*Cutter
	control   []*process.Process
	nodes     map[string]*runningNode
	nodesMade int
	forwards  map[string]net.Listener // by address

	closing  sync.Once
	closeErr error
}

// Start starts a cluster. ctx bounds the start only; the cluster lives until
// Close, or until this process ends. It needs root.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	begin := time.Now()
	c := &Cluster{log: o.Log, nodes: map[string]*runningNode{}, forwards: map[string]net.Listener{}}
	if c.log == nil {
		c.log = io.Discard
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := c.prepare(ctx, o); err != nil {
		return nil, err
	}
	built := time.Now()
	if err := c.startControlPlane(ctx); err != nil {
		return nil, err
	}
	control := time.Now()
	group, inner := errgroup.WithContext(ctx)
	for _, node := range o.Nodes {
		group.Go(func() error { return c.AddNode(inner, node) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	c.logf("cluster with %d nodes ready in %s: programs %s, control plane %s, nodes %s", len(o.Nodes), since(begin),
		built.Sub(begin).Round(time.Millisecond), control.Sub(built).Round(time.Millisecond), since(control))
	return c, nil
}

// prepare has everything ready that programs need to start.
func (c *Cluster) prepare(ctx context.Context, o Options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("a cluster needs root for its namespaces: run the tests with integration/as-root.sh")
	}
	if c.programs, err = findPrograms(ctx, o.Cache, c.log); err != nil {
		return err
	}
	if c.folder, err = workFolders().New(); err != nil {
		return err
	}
	c.Dir = c.folder.Path
	for _, dir := range []string{"nodes", "kubeconfigs"} {
		if err := os.Mkdir(filepath.Join(c.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	if c.ca, err = authority.New(filepath.Join(c.Dir, "certs"), "cluster"); err != nil {
		return err
	}
	if c.network, err = newNetwork(); err != nil {
		return err
	}
	if c.pause, err = startPauseServer(c.network, c.programs.busybox); err != nil {
		return err
	}
	if err := c.trustPlainHTTP(pauseAddress); err != nil {
		return err
	}
	if err := makeCgroup(c.cgroup()); err != nil {
		return err
	}
	if err := os.WriteFile(c.loopbackFile(), nil, 0o644); err != nil {
		return err
	}
	for _, address := range o.Loopback {
		if err := c.Reach(address); err != nil {
			return err
		}
	}
	return nil
}

// connect makes the clients of the harness itself.
func (c *Cluster) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", c.Admin)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400 // the harness waits for many things
	if c.http, err = rest.HTTPClientFor(config); err != nil {
		return err
	}
	c.Client, err = dynamic.NewForConfigAndClient(config, c.http)
	return err
}

// Close stops all that belongs to the cluster and removes its work folder.
// Calls after the first return the same.
func (c *Cluster) Close() error {
	c.closing.Do(func() { c.closeErr = c.close() })
	return c.closeErr
}

func (c *Cluster) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, p := range c.proxies {
		errs = append(errs, p.close())
	}
	errs = append(errs, stopAll(c.nodes))
	for i := len(c.control) - 1; i >= 0; i-- { // etcd last
		errs = append(errs, c.control[i].Stop())
	}
	for _, listener := range c.forwards {
		errs = append(errs, listener.Close())
	}
	errs = append(errs, c.pause.close(), c.network.close(), c.folder.Remove()) // with its control groups
	return errors.Join(errs...)
}

func (c *Cluster) logf(format string, args ...any) { fmt.Fprintf(c.log, format+"\n", args...) }

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// until calls ready until it says yes, fails or ctx ends, which fails with
// what was waited for.
func until(ctx context.Context, what string, ready func(context.Context) (bool, error)) error {
	for {
		ok, err := ready(ctx)
		if ok {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

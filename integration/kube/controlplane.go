package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibuild/ibuild/integration/authority"
	"github.com/ibuild/ibuild/integration/process"
)

// Addresses inside of the cluster's network.
const (
	etcdURL    = "http://127.0.0.1:2379"
	etcdPeer   = "http://127.0.0.1:2380"
	serverPort = "6443"
)

// controllers are those that a cluster of Jobs needs; the others cost time at
// the start.
const controllers = "job-controller,namespace-controller,resourcequota-controller,serviceaccount-controller," +
	"serviceaccount-token-controller,root-ca-certificate-publisher-controller,garbage-collector-controller," +
	"pod-garbage-collector-controller,ttl-after-finished-controller,node-lifecycle-controller,taint-eviction-controller," +
	"endpointslice-controller,endpoints-controller,daemonset-controller,deployment-controller,replicaset-controller," +
	"clusterrole-aggregation-controller,disruption-controller,persistentvolume-binder-controller," +
	"persistentvolumeclaim-protection-controller,persistentvolume-protection-controller"

// Grace of a node that is not heard of, in place of the 40 seconds and then
// the 5 minutes that clusters leave at their defaults: no test waits as long.
const (
	nodeGrace        = "12s"
	unreachableGrace = "3"
)

// startControlPlane starts etcd and the servers of Kubernetes, and returns
// when pods can be made.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	serving, err := c.ca.Issue(authority.Subject{
		Name: "kube-apiserver", Hosts: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPs: []net.IP{net.IPv4(10, 96, 0, 1)},
	}, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	toKubelets, err := c.ca.Issue(authority.Subject{Name: "apiserver-kubelet", Groups: []string{mastersGroup}}, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	accounts, err := c.ca.Issue(authority.Subject{Name: "service-accounts"}, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	if _, err := c.run("etcd", "--data-dir", filepath.Join(c.Dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL, "--listen-peer-urls", etcdPeer); err != nil {
		return err
	}
	server, err := c.run("kube-apiserver", "--etcd-servers", etcdURL,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+serverPort, "--endpoint-reconciler-type=none",
		"--tls-cert-file", serving.Cert, "--tls-private-key-file", serving.Key, "--client-ca-file", c.ca.File,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-key-file", accounts.Cert, "--service-account-signing-key-file", accounts.Key,
		"--authorization-mode=Node,RBAC", "--allow-privileged=true", "--profiling=false",
		"--enable-admission-plugins=NodeRestriction,ExtendedResourceToleration", // as GKE does
		"--default-not-ready-toleration-seconds="+unreachableGrace, "--default-unreachable-toleration-seconds="+unreachableGrace,
		"--kubelet-client-certificate", toKubelets.Cert, "--kubelet-client-key", toKubelets.Key,
		"--kubelet-preferred-address-types=InternalIP,Hostname")
	if err != nil {
		return err
	}
	if err := c.openServer(); err != nil {
		return err
	}
	if err := server.WaitFor(ctx, c.healthy); err != nil {
		return err
	}
	manager, err := c.startControllers(accounts)
	if err != nil {
		return err
	}
	return manager.WaitFor(ctx, func(ctx context.Context) error { // without it there are no pods
		_, err := c.Client.Resource(serviceAccounts).Namespace("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// openServer makes the API server reachable from outside of its network.
func (c *Cluster) openServer() error {
	direct, err := c.newCutter()
	if err != nil {
		return err
	}
	c.Server = direct.Server
	if c.Admin, err = c.Kubeconfig("admin", mastersGroup); err != nil {
		return err
	}
	return c.connect()
}

// healthy asks the API server whether all of its parts run.
func (c *Cluster) healthy(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Server+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

// startControllers starts the controllers, whose process it returns, and the
// scheduler.
func (c *Cluster) startControllers(accounts authority.KeyPair) (*process.Process, error) {
	inside := "https://127.0.0.1:" + serverPort
	manager, err := c.kubeconfig("kube-controller-manager", inside, "system:kube-controller-manager")
	if err != nil {
		return nil, err
	}
	scheduler, err := c.kubeconfig("kube-scheduler", inside, "system:kube-scheduler")
	if err != nil {
		return nil, err
	}
	controlling, err := c.run("kube-controller-manager", "--kubeconfig", manager, "--secure-port=0", "--leader-elect=false",
		"--use-service-account-credentials=true", "--service-account-private-key-file", accounts.Key, "--root-ca-file", c.ca.File,
		"--controllers="+controllers, "--node-monitor-period=1s", "--node-monitor-grace-period="+nodeGrace)
	if err != nil {
		return nil, err
	}
	_, err = c.run("kube-scheduler", "--kubeconfig", scheduler, "--secure-port=0", "--leader-elect=false")
	return controlling, err
}

// run starts a part of Kubernetes inside of the cluster's network.
func (c *Cluster) run(part string, args ...string) (*process.Process, error) {
	cmd := c.network.command(c.programs.nsenter, c.programs.hyperkube, append([]string{part}, args...)...)
	p, err := process.Start(cmd, part, filepath.Join(c.Dir, part+".log"))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.control = append(c.control, p)
	return p, nil
}

// Kubectl runs kubectl as the admin and returns what it printed. An error has
// what it printed to its standard error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.programs.hyperkube, append([]string{"kubectl", "--kubeconfig", c.Admin}, args...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

package kube

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ibuild/ibuild/integration/authority"
	"github.com/ibuild/ibuild/integration/process"
)

// nodeTimeout is how long a node may take until pods can run on it.
const nodeTimeout = 2 * time.Minute

// Taints of nodes: the one that a cloud's controller takes away once it knows
// the node, and the one that stands until the node is ready for the first time.
const (
	uninitialized = "node.cloudprovider.kubernetes.io/uninitialized"
	notReady      = "node.kubernetes.io/not-ready"
)

// Signals that tell a node about its kubelet; see package node of
// integration/kubernetes.
const (
	stopKubelet  = syscall.SIGUSR1
	startKubelet = syscall.SIGUSR2
)

// Node is a node of a cluster.
type Node struct {
	Name   string
	Labels map[string]string
	Taints []corev1.Taint

	Resource corev1.ResourceName // of the devices that it advertises, such as nvidia.com/gpu; empty for none
	Devices  int                 // how many
}

// runningNode is a node whose programs run.
type runningNode struct {
	Node
	process *process.Process
}

// AddNode starts a node and returns when pods can run on it.
func (c *Cluster) AddNode(ctx context.Context, n Node) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	running, err := c.startNode(n)
	if err != nil {
		return fmt.Errorf("start node %s: %w", n.Name, err)
	}
	steps := func(ctx context.Context) error {
		if err := c.introduce(ctx, n.Name); err != nil {
			return err
		}
		return until(ctx, "node "+n.Name, func(ctx context.Context) (bool, error) {
			node, err := c.node(ctx, n.Name)
			return err == nil && n.usable(node), err
		})
	}
	if err := whileRunning(ctx, running.process, steps); err != nil {
		kubelet := &process.Error{
			Process: "kubelet of " + n.Name, Err: errors.New("its last lines"), Log: process.Tail(filepath.Join(c.nodeDir(n.Name), "kubelet.log"), 20),
		}
		return errors.Join(running.process.Failure(err), kubelet)
	}
	return nil
}

// whileRunning calls f, and gives up when the process ends.
func whileRunning(ctx context.Context, p *process.Process, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.Done():
			cancel(errors.New("it ended"))
		case <-ctx.Done():
		}
	}()
	err := f(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%v)", err, cause)
	}
	return err
}

// startNode writes a node's files and starts its programs.
func (c *Cluster) startNode(n Node) (*runningNode, error) {
	dir := c.nodeDir(n.Name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.writeNodeFiles(n, dir); err != nil {
		return nil, err
	}
	if err := makeCgroup(c.nodeCgroup(n.Name)); err != nil {
		return nil, err
	}
	kubeconfig, err := c.kubeconfig("kubelet-"+n.Name, "https://127.0.0.1:"+serverPort, "system:node:"+n.Name, "system:nodes")
	if err != nil {
		return nil, err
	}
	args := []string{"node", "-dir", dir, "-containerd", c.programs.containerd, "-loopback", c.loopbackFile()}
	if n.Resource != "" {
		args = append(args, "-resource", string(n.Resource), "-devices", fmt.Sprint(n.Devices), "-device-env", deviceVariable(n.Resource))
	}
	args = append(args, "--", "--config", filepath.Join(dir, "kubelet.json"), "--kubeconfig", kubeconfig,
		"--root-dir", filepath.Join(dir, "kubelet"), "--cert-dir", filepath.Join(dir, "certs"), "--hostname-override", n.Name,
		"--node-labels", n.labelFlag(), "--register-with-taints", n.taintFlag(), "--cloud-provider=external",
		"--provider-id", "gce://ibuild-test/"+n.Labels[corev1.LabelTopologyZone]+"/"+n.Name)
	cmd := c.network.command(c.programs.nsenter, c.programs.hyperkube, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	p, err := process.Start(cmd, "node "+n.Name, filepath.Join(dir, "node.log"))
	if err != nil {
		return nil, err
	}
	running := &runningNode{Node: n, process: p}
	c.nodes[n.Name] = running
	return running, nil
}

// deviceVariable tells a container which devices it has, as the real plugins'
// drivers do.
func deviceVariable(resource corev1.ResourceName) string {
	if resource == tpuResource {
		return "TPU_VISIBLE_CHIPS"
	}
	return "NVIDIA_VISIBLE_DEVICES"
}

func (n Node) labelFlag() string {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
		labels = append(labels, key+"="+n.Labels[key])
	}
	return strings.Join(labels, ",")
}

func (n Node) taintFlag() string {
	var taints []string
	for _, t := range n.Taints {
		taints = append(taints, t.ToString())
	}
	return strings.Join(taints, ",")
}

// introduce does what a cloud's controller does with a new node: it says where
// the node is, and lets pods come.
func (c *Cluster) introduce(ctx context.Context, name string) error {
	return until(ctx, "the kubelet of "+name+" to register", func(ctx context.Context) (bool, error) {
		node, err := c.node(ctx, name)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		patch, err := json.Marshal(map[string]any{"status": map[string]any{"addresses": []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: name},
		}}})
		if err != nil {
			return false, err
		}
		if _, err := c.Client.Resource(nodes).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
			return false, err
		}
		node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == uninitialized })
		err = c.setTaints(ctx, name, node.ResourceVersion, node.Spec.Taints)
		if apierrors.IsConflict(err) {
			return false, nil // somebody else had something to say about its taints
		}
		return err == nil, err
	})
}

// setTaints replaces a node's taints, if it is at the version.
func (c *Cluster) setTaints(ctx context.Context, name, version string, taints []corev1.Taint) error {
	meta := map[string]any{}
	if version != "" {
		meta["resourceVersion"] = version
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta, "spec": map[string]any{"taints": taints}})
	if err != nil {
		return err
	}
	_, err = c.Client.Resource(nodes).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// usable says whether pods can run on the node, with all of its devices.
func (n Node) usable(node *corev1.Node) bool {
	for _, t := range node.Spec.Taints {
		if t.Key == notReady || t.Key == uninitialized {
			return false
		}
	}
	if n.Resource != "" {
		if devices := node.Status.Allocatable[n.Resource]; devices.Value() != int64(n.Devices) {
			return false
		}
	}
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// Taint adds a taint to a node; pods that do not tolerate it go if it says so.
func (c *Cluster) Taint(ctx context.Context, name string, taint corev1.Taint) error {
	return c.changeTaints(ctx, name, func(taints []corev1.Taint) []corev1.Taint { return append(taints, taint) })
}

// Untaint takes the taints with a key away from a node.
func (c *Cluster) Untaint(ctx context.Context, name, key string) error {
	return c.changeTaints(ctx, name, func(taints []corev1.Taint) []corev1.Taint {
		return slices.DeleteFunc(taints, func(t corev1.Taint) bool { return t.Key == key })
	})
}

func (c *Cluster) changeTaints(ctx context.Context, name string, change func([]corev1.Taint) []corev1.Taint) error {
	return until(ctx, "the taints of "+name, func(ctx context.Context) (bool, error) {
		node, err := c.node(ctx, name)
		if err != nil {
			return false, err
		}
		err = c.setTaints(ctx, name, node.ResourceVersion, change(node.Spec.Taints))
		if apierrors.IsConflict(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// StopKubelet kills a node's kubelet, as if the machine were lost: its
// containers run on, and nobody hears of them. The node is NotReady about 12
// seconds later.
func (c *Cluster) StopKubelet(name string) error { return c.signalNode(name, stopKubelet) }

// StartKubelet starts a stopped kubelet again, and returns at once.
func (c *Cluster) StartKubelet(name string) error { return c.signalNode(name, startKubelet) }

func (c *Cluster) signalNode(name string, signal syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[name]
	if n == nil {
		return fmt.Errorf("no node %q runs", name)
	}
	return syscall.Kill(n.process.PID, signal)
}

// RemoveNode takes a node away with all that runs on it, as a cloud does that
// deletes the machine and then the Node object.
func (c *Cluster) RemoveNode(ctx context.Context, name string) error {
	c.mu.Lock()
	n := c.nodes[name]
	delete(c.nodes, name)
	c.mu.Unlock()
	if n == nil {
		return fmt.Errorf("no node %q runs", name)
	}
	if err := n.process.Stop(); err != nil {
		return err
	}
	err := c.Client.Resource(nodes).Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) { // it never came up
		err = nil
	}
	return errors.Join(err, removeCgroup(c.nodeCgroup(name)), os.RemoveAll(c.nodeDir(name)))
}

// stopAll stops nodes side by side.
func stopAll(nodes map[string]*runningNode) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, name := range slices.Sorted(maps.Keys(nodes)) {
		all.Go(func() { errs[i] = nodes[name].process.Stop() })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (c *Cluster) nodeDir(name string) string { return filepath.Join(c.Dir, "nodes", name) }

func (c *Cluster) nodeCgroup(name string) string { return filepath.Join(c.cgroup(), name) }

func (c *Cluster) servingCertificate(name string) (authority.KeyPair, error) {
	return c.ca.Issue(authority.Subject{Name: "kubelet-" + name, Hosts: []string{name}}, x509.ExtKeyUsageServerAuth)
}

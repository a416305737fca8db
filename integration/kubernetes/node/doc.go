// Package node is one machine of a test's cluster: the first process of a
// mount and a process namespace of its own, which runs containerd and a
// kubelet, advertises devices to it, and lets the pods reach servers on the
// loopback of the test's machine. When it ends, the kernel ends all of them.
//
// The devices are names and numbers: nothing stands behind them.
//
// What a cluster consists of and where its files are is decided by
// integration/kube, which starts this.
package node

// Package kube starts a real Kubernetes for tests, on one machine and in some
// six seconds: etcd, API server, controllers and scheduler, and nodes with a
// kubelet and containerd each, labelled and tainted as GKE labels and taints
// its nodes.
//
//	Start ──▶ Cluster ─ Admin, Kubeconfig, Client, Kubectl ─▶ API server
//	            │      ─ Cutter: a way to it that breaks when told to
//	            │      ─ AddNode, StopKubelet, Taint, RemoveNode: what happens to nodes
//	            └ network namespace: control plane, nodes ─ pods
//	                └ Reach: servers on the test's loopback, under their own addresses
//
// What is real: scheduling, quotas, RBAC, admission, image pulls with and
// without a password, exit codes, OOM kills, logs, evictions, lost nodes, and
// one pod for each host of a slice.
//
// What is not:
//   - Devices are simulated. A device plugin advertises numbers of
//     nvidia.com/gpu and google.com/tpu; no GPU or TPU is there, no driver is
//     mounted and no code runs on one. The kernel, the CPUs and the memory of
//     all nodes are those of the test's machine.
//   - There is no DNS in the cluster and no ClusterIP works, since neither a DNS
//     server nor kube-proxy runs: a pod finds no other by name, and not the API
//     server either.
//   - Nothing reaches outside but what Reach names: no package index, no
//     registry of the Internet.
//   - No controller of JobSet, of Kueue or of Google runs. ApplyCRD defines the
//     APIs of the first two, and what is stored can be looked at. What the
//     cluster autoscaler would say is written by the methods in autoscaler.go
//     as data of tests. GKE's webhook for TPUs (TPU_WORKER_ID and the rest) is
//     not there.
//   - A node counts as lost after 12 seconds, and its pods are evicted 3 seconds
//     later; elsewhere that takes 40 seconds and five minutes.
//
// Close leaves no process, mount, control group, network link or file. Should
// the test be killed, the kernel ends the processes, and the next Start removes
// the rest. It all needs root, and OS packages of integration/deps.sh.
// Kubernetes itself is built once from module integration/kubernetes and kept
// in the user's cache folder.
//
// What does not live here: registries and images (package testenv), and what
// ibuild submits.
package kube

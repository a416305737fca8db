// Package gke runs jobs on Kubernetes as Google runs it: the catalogue of
// accelerators, the manifests of a job, and all that is said to a cluster about
// them: what it can hold, submitting, watching, logs, cancelling, cleaning up.
//
// The way of the data:
//
//	text ─ Resolve ─▶ Accelerator ─┐
//	                               ├▶ Job ─ Manifests ─▶ objects ─ Cluster.Submit ─▶ Run
//	image by digest, command, env ─┘        (pure)          │                         │
//	                                                  Cluster.Check             Watch ─▶ State
//	                                                  (may I, is there a pool)  Logs  ─▶ Line
//
// All state of a job is in the cluster, in labels and annotations of its
// objects, so that any machine finds it again; there is none in a local file.
//
// What does not live here: images, registries, sources, modes (package launch),
// what runs inside the pod (package bootstrap), and flags (cmd). Nothing of
// ibuild's is imported; the test in the repository's root holds that.
//
// The API server is talked to through client-go's dynamic client, and objects
// are turned into k8s.io/api's types. The typed clients would register every
// type of Kubernetes at the start of each ibuild: 4 ms of CPU and 11 MB more
// of program, which all other commands would pay for.
package gke

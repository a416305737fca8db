//go:build integration

package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestTensorFlow builds on what stands in for TensorFlow's parent, an image of Python under its name: the parent is
// chosen by the version and -gpu, its Python takes the requirements, and the code runs in /app.
func TestTensorFlow(t *testing.T) {
	standIn(t, python, "docker.io/tensorflow/tensorflow:2.16.2-gpu")
	dir := files(t, "image.yaml", "tensorflow_cloud: {tensorflow: 2.16.2, gpu: true, context: src, entry_point: main.py, requirements: requirements.txt}\n",
		"requirements.txt", "tensorflow==2.16.2; sys_platform == 'never'\nhumanize==4.9.0\n",
		"src/main.py", "import os, sys, humanize\nprint(os.getcwd(), sys.argv, sys.prefix == sys.base_prefix, humanize.__version__)\n")
	var all agreement
	enginesAtOnce(t, rootAndRemote(t), func(t *testing.T, e engine) {
		img := pull(t, e.push(t, "tensorflow/"+e.name, dir), amd64)
		all.add(t, img, amd64, func() { prints(t, img, noOptions, "/app ['main.py'] True 4.9.0\n") })
	})
}

// TestSecretOfACluster finds a secret where clusters mount them, without a word about it.
func TestSecretOfACluster(t *testing.T) {
	const group, value = "ibuild-e2e", "the-secret-of-the-cluster"
	mountSecret(t, group, "key", value)
	dir := files(t, "image.yaml", "base_image: busybox\nlayers:\n"+
		"  - commands: {commands: [sha256sum < /run/key > /sum], secrets: [{id: "+group+"/key, file: /run/key}]}\ncmd: [cat, /sum]\n")
	e := engineNamed(t, "user")
	ref := shared.env.Registry.Ref("cluster/secret")
	o := e.ibuild(t, "build", "--progress", "plain", "--push", "-t", ref, dir)
	prints(t, pull(t, ref, amd64), noOptions, fmt.Sprintf("%x  -\n", sha256.Sum256([]byte(value))))
	keepsSecret(t, e, o, ref, group+"/key", value)
}

// mountSecret writes a file below /etc/secrets, and leaves nothing of it there.
func mountSecret(t *testing.T, group, key, value string) {
	t.Helper()
	const top = "/etc/secrets"
	if _, err := os.Lstat(top); errors.Is(err, fs.ErrNotExist) {
		t.Cleanup(func() { os.Remove(top) })
	}
	dir := filepath.Join(top, group)
	t.Cleanup(func() { os.RemoveAll(dir) })
	write(t, filepath.Join(dir, key), value)
}

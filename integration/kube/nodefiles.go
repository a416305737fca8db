package kube

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// firstKubeletPort is the port of the first kubelet; the nodes of a cluster
// share one network.
const firstKubeletPort = 10250

// containerdConfig is of version 2 of the format, which containerd 1.6 to 2.x
// read. Sockets and state go to /run, which is each node's own.
const containerdConfig = `version = 2
root = %[1]q
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.opt"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[2]q
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %[3]q

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[4]q
    conf_dir = %[5]q

  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`

// writeNodeFiles writes the configuration of a node's programs. The caller
// holds the cluster's lock.
func (c *Cluster) writeNodeFiles(n Node, dir string) error {
	index := c.nodesMade
	c.nodesMade++
	serving, err := c.servingCertificate(n.Name)
	if err != nil {
		return err
	}
	config := fmt.Sprintf(containerdConfig, filepath.Join(dir, "containerd"), pauseImage, c.hostsDir(), cniFolder, filepath.Join(dir, "cni"))
	if err := os.WriteFile(filepath.Join(dir, "containerd.toml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "cni"), 0o755); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "cni", "10-ptp.conflist"), podNetwork(index)); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, "kubelet.json"), c.kubeletConfig(n, dir, firstKubeletPort+index, serving.Cert, serving.Key))
}

// podNetwork gives each pod of a node an address of the node's subnet.
func podNetwork(index int) map[string]any {
	return map[string]any{
		"cniVersion": "0.4.0",
		"name":       "pods",
		"plugins": []any{map[string]any{
			"type": "ptp",
			"ipam": map[string]any{
				"type":   "host-local",
				"subnet": fmt.Sprintf("10.%d.%d.0/24", 244+index/256, index%256),
				"routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
			},
		}},
	}
}

// kubeletConfig is a kubelet that can live beside others, under a control
// group of its own, and that reports quickly what happens.
func (c *Cluster) kubeletConfig(n Node, dir string, port int, cert, key string) map[string]any {
	return map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"address":                  "127.0.0.1",
		"port":                     port,
		"readOnlyPort":             0,
		"healthzPort":              0,
		"tlsCertFile":              cert,
		"tlsPrivateKeyFile":        key,
		"authentication":           map[string]any{"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": false}, "x509": map[string]any{"clientCAFile": c.ca.File}},
		"authorization":            map[string]any{"mode": "AlwaysAllow"}, // of those with a certificate
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + c.nodeCgroup(n.Name),
		"cgroupsPerQOS":            true,
		"enforceNodeAllocatable":   []string{},
		"failCgroupV1":             false,
		"failSwapOn":               false,
		"makeIPTablesUtilChains":   false,
		"podLogsDir":               filepath.Join(dir, "pods"),
		"volumePluginDir":          filepath.Join(dir, "volumeplugins"),
		"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
		"clusterDomain":            "cluster.local",
		"clusterDNS":               []string{"10.96.0.10"}, // where nobody is: names do not resolve, but pods look as they do elsewhere
		"evictionHard": map[string]string{ // of a machine that it shares with tests
			"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
		},
		"imageGCHighThresholdPercent": 100,
		"nodeStatusUpdateFrequency":   "2s",
		"nodeLeaseDurationSeconds":    6, // renewed each quarter of it
		"serializeImagePulls":         false,
		"registryPullQPS":             0,
		"eventRecordQPS":              0,
		"oomScoreAdj":                 -1,
		"shutdownGracePeriod":         "0s",
	}
}

func writeJSON(file string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// loopbackFile lists the addresses of Reach for the nodes.
func (c *Cluster) loopbackFile() string { return filepath.Join(c.Dir, "loopback") }

// hostsDir tells containerd how to reach registries; it reads it with each
// pull.
func (c *Cluster) hostsDir() string { return filepath.Join(c.Dir, "registries") }

// trustPlainHTTP lets nodes pull from a registry without TLS.
func (c *Cluster) trustPlainHTTP(address string) error {
	dir := filepath.Join(c.hostsDir(), address)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	hosts := fmt.Sprintf("server = %q\n\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\"]\n", "http://"+address)
	return os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644)
}

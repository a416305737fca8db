package gke

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// poolNode is a ready node of a pool with devices, labelled and tainted as GKE does it.
func poolNode(pool, name string, labels map[string]string, device string, count int64, taints ...string) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelArchStable: "amd64", nodePoolLabel: pool}}}
	for key, value := range labels {
		n.Labels[key] = value
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("3920m"), corev1.ResourceMemory: resource.MustParse("12Gi")}
	if device != "" {
		n.Status.Allocatable[corev1.ResourceName(device)] = *resource.NewQuantity(count, resource.DecimalSI)
		taints = append(taints, device)
	}
	for _, key := range taints {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: "present", Effect: corev1.TaintEffectNoSchedule})
	}
	return n
}

func gpuNode(pool, kind string, count int64) corev1.Node {
	return poolNode(pool, "gke-c-"+pool+"-0123abcd-x", map[string]string{gpuLabel: kind}, "nvidia.com/gpu", count)
}

// tpuNodes are the hosts of a slice of v5e.
func tpuNodes(pool, topology string, hosts int) (list []corev1.Node) {
	for i := range hosts {
		list = append(list, poolNode(pool, pool+"-"+string(rune('a'+i)), map[string]string{tpuLabel: "tpu-v5-lite-podslice", topologyLabel: topology}, "google.com/tpu", 4))
	}
	return list
}

// testNodes are pools of every sort, one node each unless said otherwise.
func testNodes() []corev1.Node {
	list := []corev1.Node{
		poolNode("cpu", "cpu-1", nil, "", 0),
		poolNode("own", "own-1", nil, "", 0, "team"),
		gpuNode("l4", "nvidia-l4", 1),
		gpuNode("l4-2", "nvidia-l4", 2),
		poolNode("l4-spot", "spot-1", map[string]string{gpuLabel: "nvidia-l4", spotLabel: "true"}, "nvidia.com/gpu", 1, spotLabel),
		poolNode("arm", "arm-1", map[string]string{corev1.LabelArchStable: "arm64"}, "", 0, corev1.LabelArchStable),
	}
	list = append(list, tpuNodes("v5e", "2x2", 1)...)
	return append(list, tpuNodes("v5e-4x4", "4x4", 4)...)
}

// googlePools are two pools that GKE's API knows: an empty one of A100s that the
// autoscaler fills, and an empty one of a TPU slice that nobody fills.
const googlePools = `{"nodePools": [
 {"name": "a100", "status": "RUNNING", "locations": ["us-central1-a", "us-central1-b"],
  "instanceGroupUrls": ["https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/instanceGroupManagers/gke-c-a100-89abcdef-grp"],
  "autoscaling": {"enabled": true, "maxNodeCount": 2},
  "config": {"machineType": "a2-highgpu-4g", "accelerators": [{"acceleratorType": "nvidia-tesla-a100", "acceleratorCount": "4"}]}},
 {"name": "v6e", "status": "RUNNING", "placementPolicy": {"tpuTopology": "4x4"}, "config": {"machineType": "ct6e-standard-4t"}},
 {"name": "broken", "status": "ERROR", "conditions": [{"message": "no address is left"}], "autoscaling": {"enabled": true, "totalMaxNodeCount": 3},
  "config": {"machineType": "a3-highgpu-8g", "spot": true}}]}`

func googleOf(t *testing.T, text string) *googleCluster {
	t.Helper()
	g, err := readGoogle(200, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestPlace: where a job goes, by what was read of a cluster. want is what the
// placement says, or with "!" in front what the refusal and its hint say.
func TestPlace(t *testing.T) {
	group := func(name string, maxSize int, trouble string) nodeGroup {
		return nodeGroup{name: name, max: maxSize, trouble: trouble}
	}
	for _, c := range []struct {
		name        string
		accelerator string
		change      func(*Job)
		s           survey
		want        []string
	}{
		{"a node that is there", "cpu", nil, survey{}, []string{"pool cpu, 1 node"}},
		{"free devices", "l4", nil, survey{used: map[string]int64{}}, []string{"pool l4, 1 of 1 node free"}},
		{"the free one of two pools", "l4", nil, survey{used: map[string]int64{"gke-c-l4-0123abcd-x": 1}}, []string{"pool l4-2, 1 of 1 node free"}},
		{"half a node is free", "l4", nil, survey{used: map[string]int64{"gke-c-l4-0123abcd-x": 1, "gke-c-l4-2-0123abcd-x": 1}}, []string{"pool l4-2, 1 of 1 node free"}},
		{"both are busy", "l4x2", nil, survey{used: map[string]int64{"gke-c-l4-2-0123abcd-x": 1}}, []string{"pool l4-2, 0 of 1 node free, of 1 that the job needs: the job waits for others to end"}},
		{"busy, and the pool grows", "l4x2", nil, survey{used: map[string]int64{"gke-c-l4-2-0123abcd-x": 1}, groups: []nodeGroup{group("gke-c-l4-2-0123abcd-grp", 3, "")}},
			[]string{"the autoscaler has to make 1 node"}},
		{"busy, and the pool is full", "l4x2", nil, survey{used: map[string]int64{"gke-c-l4-2-0123abcd-x": 1}, groups: []nodeGroup{group("gke-c-l4-2-0123abcd-grp", 1, "")}},
			[]string{"waits for others to end"}},
		{"spot", "l4:spot", nil, survey{}, []string{"pool l4-spot"}},
		{"arm", "cpu", func(j *Job) { j.Accelerator.Arch = "arm64" }, survey{}, []string{"pool arm"}},
		{"a slice of four hosts", "v5e-16", nil, survey{used: map[string]int64{}}, []string{"pool v5e-4x4, 4 of 4 nodes free"}},
		{"a slice with a busy host", "v5e-16", nil, survey{used: map[string]int64{"v5e-4x4-b": 4}}, []string{"pool v5e-4x4, 3 of 4 nodes free, of 4 that the job needs: the job waits"}},

		{"not enough devices", "l4x4", nil, survey{}, []string{"!4 nvidia.com/gpu on each of 1 node", "!the nearest: pool l4-2: its nodes have 2 devices each, not 4", "!there are the node pools l4-2 (2 × nvidia-l4, 1 node); ",
			"!gcloud container node-pools create l4 --cluster CLUSTER --location LOCATION --machine-type g2-standard-48 --accelerator type=nvidia-l4,count=4"}},
		{"no such accelerator", "h100x8", nil, survey{}, []string{"!asks for 8 nvidia.com/gpu", "!the nearest: pool l4-2: its gke-accelerator is nvidia-l4, not nvidia-h100-80gb; its nodes have 2 devices each, not 8"}},
		{"another topology", "v5e:4x8", nil, survey{}, []string{"!the nearest: pool v5e: its gke-tpu-topology is 2x2, not 4x8", "!--tpu-topology 4x8 --num-nodes 0"}},
		{"arm where there is none", "gb200", nil, survey{}, []string{"!kubernetes.io/arch=arm64", "!its arch is amd64, not arm64"}},
		{"too many CPUs", "cpu", func(j *Job) { j.CPU = "8" }, survey{}, []string{"!cpu 8", "!its nodes have 3920m CPUs for pods, not 8"}},
		{"too much memory", "l4", func(j *Job) { j.Memory = "64Gi" }, survey{}, []string{"!its nodes have 12Gi of memory for pods, not 64Gi"}},
		{"a label that none has", "cpu", func(j *Job) { j.Selector = map[string]string{"team": "vision"} }, survey{}, []string{"!it has no team vision"}},
		{"a taint", "cpu", func(j *Job) { j.Selector = map[string]string{nodePoolLabel: "own"} }, survey{}, []string{"!pool own: it is kept for others by the taint team=present"}},
		{"two slices, one pool", "v5e-16", func(j *Job) { j.Slices = 2 }, survey{}, []string{"!each of 2 slices needs a pool of its own, and only v5e-4x4 would do"}},
		{"no nodes at all", "l4", nil, survey{nodes: []corev1.Node{}}, []string{"!the cluster has no nodes, and no autoscaler"}},

		{"an empty pool that GKE knows", "a100x4", nil, survey{google: googleOf(t, googlePools)}, []string{"pool a100, which is empty: the autoscaler has to make 1 node"}},
		{"an empty pool that nobody fills", "v6e:4x4", nil, survey{google: googleOf(t, googlePools)}, []string{"pool v6e, which is empty: nobody makes its nodes by itself", "--num-nodes 4"}},
		{"an empty pool that backs off", "a100x4", nil, survey{google: googleOf(t, googlePools), groups: []nodeGroup{group("gke-c-a100-89abcdef-grp", 2, "the autoscaler waits after a failure, QUOTA_EXCEEDED")}},
			[]string{"has to make 1 node; the autoscaler waits after a failure, QUOTA_EXCEEDED"}},
		{"an empty pool that is broken", "h100x8:spot", nil, survey{google: googleOf(t, googlePools)}, []string{"GKE says that it is error: no address is left"}},
		{"an empty pool, not as many", "a100x8", nil, survey{google: googleOf(t, googlePools)}, []string{"!pool a100: its nodes have 4 devices each, not 8", "!a100 (a2-highgpu-4g, 4 × nvidia-tesla-a100, empty of at most 4)"}},
		{"an empty pool of which only the name is known", "h100x8", nil, survey{groups: []nodeGroup{group("gke-c-big-0123abcd-grp", 2, "")}},
			[]string{"the autoscaler may fill what is empty, of which the machines cannot be seen from here: c-big"}},
		{"GKE knows all pools, and the name helps nothing", "h200x8", nil, survey{google: googleOf(t, googlePools), groups: []nodeGroup{group("gke-c-a100-89abcdef-grp", 2, "")}}, []string{"!8 nvidia.com/gpu"}},
		{"auto-provisioning", "h200x8", nil, survey{google: googleOf(t, `{"autoscaling": {"enableNodeAutoprovisioning": true, "resourceLimits": [{"resourceType": "nvidia-h200-141gb", "maximum": "4"}]}}`)},
			[]string{"node auto-provisioning may make some (its limit for nvidia-h200-141gb is 4, and the job asks for 8)"}},
		{"Autopilot", "h200x8", nil, survey{google: googleOf(t, `{"autopilot": {"enabled": true}}`)}, []string{"Autopilot makes the nodes"}},
		{"a compute class that the job asks for", "l4x8", func(j *Job) { j.Selector = map[string]string{classLabel: "gpus"} }, survey{makers: []string{"gpus"}}, []string{"the compute class gpus may make some"}},
		{"a compute class that it does not ask for", "l4x8", nil, survey{makers: []string{"gpus"}}, []string{"!8 nvidia.com/gpu"}},
		{"the namespace's compute class", "l4x8", nil, survey{makers: []string{"gpus", ""}}, []string{"the compute class of the namespace may make some"}},
		{"nodes that may not be listed", "l4x8", nil, survey{nodes: []corev1.Node{}, unseen: []string{"you may not list nodes"}}, []string{"whether a pool fits cannot be seen: you may not list nodes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			job := testJob(t, c.accelerator)
			if c.change != nil {
				c.change(&job)
			}
			if c.s.nodes == nil {
				c.s.nodes = testNodes()
			}
			p, err := c.s.place(needOf(job), gkeName{})
			said := p.Note
			var none *PlaceError
			if errors.As(err, &none) {
				said = none.Error() + "\n" + none.Hint()
			}
			for _, want := range c.want {
				text, refused := strings.CutPrefix(want, "!")
				if refused != (err != nil) || !strings.Contains(said, text) {
					t.Errorf("refused: %v, want %v; nothing says %q in:\n%s", err != nil, refused, text, said)
				}
			}
		})
	}
}

// TestPoolsOfZones: what the autoscaler says of a pool's zones is summed up, and a
// pool whose name ends like another's is not taken for it.
func TestPoolsOfZones(t *testing.T) {
	s := survey{nodes: []corev1.Node{gpuNode("l4", "nvidia-l4", 1), poolNode("big-l4", "gke-c-big-l4-aaaaaaaa-y", nil, "", 0)}, groups: []nodeGroup{
		{name: "gke-c-l4-0123abcd-grp", max: 2}, {name: "gke-c-l4-bbbbbbbb-grp", max: 3}, {name: "gke-c-big-l4-aaaaaaaa-grp", max: 7}, {name: "gke-c-big-l4-cccccccc-grp", max: 1}}}
	found := map[string]int{}
	for _, p := range s.pools() {
		found[p.Name] = p.Max
	}
	if len(found) != 2 || found["l4"] != 5 || found["big-l4"] != 8 {
		t.Errorf("%v, want l4: 5 and big-l4: 8", found)
	}
}

// TestAsk: what a pool is asked for by resolves to its machines.
func TestAsk(t *testing.T) {
	for _, e := range Catalogue() {
		for _, o := range e.Options {
			labels := map[string]string{corev1.LabelInstanceTypeStable: o.Machines[0], e.deviceLabel(): e.Label}
			if e.Kind == TPU {
				labels[topologyLabel] = o.Topology
			}
			p := newPool("p", labels)
			p.Devices = o.PerHost()
			a, err := Resolve(p.Ask(), true)
			if err != nil || a.Label != e.Label || a.PerHost != o.PerHost() || a.Topology != o.Topology || a.Hosts != o.Hosts {
				t.Errorf("%s %s on %s: %q is %+v, %v", e.Name, o.Size(), o.Machines[0], p.Ask(), a, err)
			}
		}
	}
	if got := (Pool{Opaque: true}).Ask(); got != "" {
		t.Errorf("an unknown pool is asked for by %q", got)
	}
}

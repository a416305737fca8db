package gke

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// look decides from objects as JSON texts: a Job or JobSet first, then pods,
// events, nodes and a Workload in any order.
func look(t *testing.T, objects ...map[string]any) finding {
	t.Helper()
	return decide(observe(t, objects...).snapshot())
}

func observe(t *testing.T, objects ...map[string]any) *observer {
	t.Helper()
	o := newObserver(&Run{Name: "train", Namespace: "ml", Kind: "Job"})
	for _, object := range objects {
		u := &unstructured.Unstructured{Object: unstructuredNumbers(t, object)}
		switch u.GetKind() {
		case "Pod":
			o.putPod(u)
		case "Event":
			o.putEvent(u)
		case "Node":
			o.putNode(u.GetName(), u, nil)
		case "Workload":
			o.workload = u
		default:
			o.run.Kind = u.GetKind()
			o.putMain(u)
		}
	}
	return o
}

// unstructuredNumbers gives numbers the types that the dynamic client gives them.
func unstructuredNumbers(t *testing.T, object map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u.Object
}

type m = map[string]any

// with sets a field of a copy of an object.
func with(object m, value any, path ...string) m {
	object = jsonCopy(object)
	at := object
	for _, name := range path[:len(path)-1] {
		next, ok := at[name].(m)
		if !ok {
			next = m{}
			at[name] = next
		}
		at = next
	}
	at[path[len(path)-1]] = value
	return jsonCopy(object)
}

func waitingPod(reason, message string) m {
	return podObject("train-x", "Pending", m{"waiting": m{"reason": reason, "message": message}})
}

func unscheduledPod(message string) m {
	return with(with(with(podObject("train-x", "Pending", m{}), "", "spec", "nodeName"), []any{}, "status", "containerStatuses"),
		[]any{m{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message, "lastTransitionTime": "2026-11-23T04:00:01Z"}}, "status", "conditions")
}

func disruptedPod(phase, reason, message string) m {
	return with(podObject("train-x", phase, m{"terminated": m{"exitCode": 143, "reason": "Error", "finishedAt": "2026-11-23T04:05:00Z"}}),
		[]any{m{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message, "lastTransitionTime": "2026-11-23T04:05:00Z"}}, "status", "conditions")
}

// event is one about the job or its pod, n seconds after the first.
func event(n int, kind, reason, message string) m {
	name, uid := "train", "uid-job"
	if kind == "Pod" {
		name, uid = "train-x", "uid-train-x"
	}
	at := time.Date(2026, 11, 23, 4, 1, n, 0, time.UTC).Format(time.RFC3339)
	return m{"kind": "Event", "apiVersion": "v1", "metadata": m{"name": reason + at, "uid": reason + at}, "reason": reason, "message": message,
		"lastTimestamp": at, "involvedObject": m{"kind": kind, "name": name, "uid": uid}}
}

func terminatedPod(code int, reason, message string) m {
	return podObject("train-x", "Failed", m{"terminated": m{"exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-11-23T04:05:00Z"}})
}

func evictedPod(reason, message string) m {
	return with(with(with(podObject("train-x", "Failed", m{}), []any{}, "status", "containerStatuses"), reason, "status", "reason"), message, "status", "message")
}

func suspendedJob() m {
	return with(with(jobObject(), true, "spec", "suspend"), m{queueLabel: "research"}, "metadata", "labels")
}

func workload(conditions ...any) m {
	return m{"kind": "Workload", "apiVersion": "kueue.x-k8s.io/v1beta1", "metadata": m{"name": "job-train-abc", "uid": "w"}, "spec": m{"active": true}, "status": m{"conditions": conditions}}
}

func failedJob() m {
	return jobObject(conditionObject("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
}

// TestDecide gives the state machine what Kubernetes 1.30 to 1.36, containerd 1.7
// and 2.x, GKE's autoscaler and Kueue write.
func TestDecide(t *testing.T) {
	const pull = `rpc error: code = NotFound desc = failed to pull and unpack image "reg/train@sha256:1": `
	gpu := "0/5 nodes are available: 1 Insufficient nvidia.com/gpu, 4 node(s) didn't match Pod's node affinity/selector. preemption: 0/5 nodes are available: 1 No preemption victims found for incoming pod, 4 Preemption is not helpful for scheduling."
	retries := with(jobObject(), 2, "spec", "backoffLimit")
	notReady := m{"kind": "Node", "apiVersion": "v1", "metadata": m{"name": "node-1", "uid": "n"}, "status": m{"conditions": []any{
		m{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status.", "lastTransitionTime": "2026-11-23T04:05:00Z"}}}}
	for _, c := range []struct {
		name    string
		objects []m
		phase   Phase
		reason  string
		cause   cause
		message string // a part of it
		hint    string // a part of it
	}{
		{"nothing yet", []m{jobObject()}, Pending, "NoPod", noPods, "has not made a pod yet", ""},
		{"no node fits", []m{jobObject(), unscheduledPod(gpu)}, Pending, "Unschedulable", noNode, "1 Insufficient nvidia.com/gpu", "in use or too small"},
		{"no such pool", []m{jobObject(), unscheduledPod("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.")},
			Pending, "Unschedulable", noNode, "no node fits", "ibuild accelerators --live"},
		{"kept for others", []m{jobObject(), unscheduledPod("0/8 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 7 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/8 nodes are available: 8 Preemption is not helpful for scheduling.")},
			Pending, "Unschedulable", noNode, "no node fits: 0/8 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 7 node(s) had untolerated taint(s)", "kept for others"},
		{"no nodes at all", []m{jobObject(), unscheduledPod("no nodes available to schedule pods")}, Pending, "Unschedulable", noNode, "no nodes available", "ibuild accelerators --live"},
		{"claim missing", []m{jobObject(), unscheduledPod(`persistentvolumeclaim "data" not found`)}, Pending, "Unschedulable", noNode, "data", "create the claim"},
		{"scaling up", []m{jobObject(), unscheduledPod(gpu), event(1, "Pod", "TriggeredScaleUp", "pod triggered scale-up: [{https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/instanceGroups/gke-c-l4-pool-1234-grp 0->1 (max: 4)}]")},
			Pending, "TriggeredScaleUp", scalingUp, "gke-c-l4-pool-1234-grp 0->1 (max: 4)", ""},
		{"quota of the project", []m{jobObject(), unscheduledPod(gpu), event(1, "Pod", "TriggeredScaleUp", "pod triggered scale-up: [{g 0->1 (max: 4)}]"),
			event(2, "Pod", "FailedScaleUp", "Node scale up in zones us-central1-a associated with this pod failed: GCE quota exceeded. Pod is at risk of not being scheduled.")},
			Pending, "ProjectQuota", scaleUpFailed, "GCE quota exceeded", "more quota"},
		{"stockout", []m{jobObject(), unscheduledPod(gpu), event(2, "Pod", "FailedScaleUp", "Node scale up in zones us-central1-a associated with this pod failed: GCE out of resources. Pod is at risk of not being scheduled.")},
			Pending, "OutOfMachines", scalingUp, "no such machines", "--flex-start"},
		{"stockout, and a pause", []m{jobObject(), unscheduledPod(gpu), event(2, "Pod", "FailedScaleUp", "Node scale up in zones us-central1-a associated with this pod failed: GCE out of resources."),
			event(3, "Pod", "NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached, 1 in backoff after failed scale-up")},
			Pending, "OutOfMachines", scalingUp, "no such machines", "--flex-start"},
		{"a full pool, and one that pauses", []m{jobObject(), unscheduledPod(gpu), event(3, "Pod", "NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached, 1 in backoff after failed scale-up")},
			Pending, "NotTriggerScaleUp", scaleUpFailed, "in backoff", "tries again"},
		{"a later scale-up counts", []m{jobObject(), unscheduledPod(gpu), event(3, "Pod", "TriggeredScaleUp", "pod triggered scale-up: [{a 0->1 (max: 4)} {b 1->2 (max: 4)}]"), event(2, "Pod", "FailedScaleUp", "x: GCE quota exceeded")},
			Pending, "TriggeredScaleUp", scalingUp, "a 0->1 (max: 4), b 1->2 (max: 4)", ""},
		{"pool is full", []m{jobObject(), unscheduledPod(gpu), event(1, "Pod", "NotTriggerScaleUp", "pod didn't trigger scale-up: 1 node(s) didn't match Pod's node affinity/selector, 1 max node group size reached")},
			Pending, "NotTriggerScaleUp", noNode, "the autoscaler makes no node (1 node(s)", "largest size"},
		{"autoscaler pauses", []m{jobObject(), unscheduledPod(gpu), event(1, "Pod", "NotTriggerScaleUp", "pod didn't trigger scale-up (it wouldn't fit if a new node is added): 1 in backoff after failed scale-up")},
			Pending, "NotTriggerScaleUp", scaleUpFailed, "in backoff", "tries again"},
		{"flex-start", []m{jobObject(), with(unscheduledPod(gpu), "true", "spec", "nodeSelector", "cloud.google.com/gke-flex-start")}, Pending, "FlexStart", queued, "flex-start", ""},
		{"scheduling gate", []m{jobObject(), with(unscheduledPod(""), []any{m{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates"}}, "status", "conditions")},
			Pending, "SchedulingGated", queued, "gate", ""},

		{"namespace's quota", []m{jobObject(), event(1, "Job", "FailedCreate", `Error creating: pods "train-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=4, used: requests.nvidia.com/gpu=6, limited: requests.nvidia.com/gpu=8`)},
			Pending, "QuotaExceeded", noPods, "pod: exceeded quota: gpus", "ResourceQuota"},
		{"quota needs limits", []m{jobObject(), event(1, "Job", "FailedCreate", `Error creating: pods "train-x" is forbidden: failed quota: q: must specify limits.cpu for: main`)},
			Pending, "QuotaExceeded", hopeless, "must specify", "--memory"},
		{"Pod Security", []m{jobObject(), event(1, "Job", "FailedCreate", `Error creating: pods "train-x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false)`)},
			Pending, "PodSecurity", hopeless, "restricted:latest", "less strict"},
		{"service account", []m{jobObject(), event(1, "Job", "FailedCreate", `Error creating: pods "train-x" is forbidden: error looking up service account ml/robot: serviceaccount "robot" not found`)},
			Pending, "NoServiceAccount", hopeless, "robot", "--service-account"},
		{"policy", []m{jobObject(), event(1, "Job", "FailedCreate", `Error creating: admission webhook "warden-validating.common-webhooks.networking.gke.io" denied the request: GKE Warden rejected the request`)},
			Pending, "AdmissionDenied", hopeless, "GKE Warden", "Autopilot"},
		{"webhook is down, and back", []m{jobObject(), event(1, "Job", "FailedCreate", `Error creating: pods "train-x" is forbidden: x`), event(2, "Job", "SuccessfulCreate", "Created pod: train-x")},
			Pending, "NoPod", noPods, "not made all pods", ""},

		{"another job's pods are forbidden", []m{jobObject(), with(event(1, "Job", "FailedCreate", "Error creating: is forbidden: x"), m{"kind": "Job", "name": "train-2", "uid": "other"}, "involvedObject")},
			Pending, "NoPod", noPods, "has not made a pod yet", ""},
		{"queued", []m{suspendedJob(), workload(m{"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor l4, 4 more needed"})},
			Pending, "Queued", queued, "4 more needed", ""},
		{"too much for the queue", []m{suspendedJob(), workload(m{"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": "couldn't assign flavors to pod set main: insufficient quota for cpu in flavor default, request > maximum capacity (10 > 5)"})},
			Pending, "ExceedsQueue", hopeless, "10 > 5", "--queue"},
		{"no such queue", []m{suspendedJob(), workload(m{"type": "QuotaReserved", "status": "False", "reason": "Inadmissible", "message": "LocalQueue research doesn't exist"})},
			Pending, "NoQueue", hopeless, "research", "localqueues"},
		{"Kueue has not looked", []m{suspendedJob()}, Pending, "Queued", queued, "waits for Kueue", ""},
		{"waits for its leader", []m{jobObject(), event(1, "Job", "FailedCreate", `Error creating: admission webhook "vpod.kb.io" denied the request: leader pod not yet scheduled, not creating follower pod "x". this is an expected, transient error`)},
			Pending, "WaitsForLeader", noPods, "when its first one has a node", ""},
		{"deactivated by Kueue", []m{suspendedJob(), with(workload(m{"type": "Evicted", "status": "True", "reason": "DeactivatedDueToRequeuingLimitExceeded", "message": "exceeded the maximum number of re-queuing retries"}), false, "spec", "active")},
			Pending, "Deactivated", hopeless, "maximum number of re-queuing", "kubectl describe workload"},
		{"one flavor is too small", []m{suspendedJob(), workload(m{"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor spot, request > maximum capacity (8 > 4), insufficient unused quota for nvidia.com/gpu in flavor reserved, 4 more needed"})},
			Pending, "Queued", queued, "insufficient unused quota", ""},
		{"preempted by Kueue", []m{suspendedJob(), workload(m{"type": "Evicted", "status": "True", "reason": "Preempted", "message": "Preempted to accommodate a workload in the ClusterQueue"})},
			Preempted, "Preempted", queued, "gave the job's place to another", ""},
		{"suspended by hand", []m{with(jobObject(), true, "spec", "suspend")}, Pending, "Suspended", queued, "suspended", "suspend=false"},

		{"creating", []m{jobObject(), waitingPod("ContainerCreating", "")}, Pulling, "ContainerCreating", starting, "node-1", ""},
		{"pulling", []m{jobObject(), waitingPod("ContainerCreating", ""), event(1, "Pod", "Pulling", `Pulling image "reg/train@sha256:1"`)}, Pulling, "Pulling", pullingImage, "node node-1 pulls reg/train@sha256:1", ""},
		{"pulled", []m{jobObject(), waitingPod("ContainerCreating", ""), event(1, "Pod", "Pulling", `Pulling image "x"`), event(2, "Pod", "Pulled", `Successfully pulled image "x" in 12.5s (12.5s including waiting). Image size: 1234567890 bytes.`)},
			Pulling, "Pulled", starting, "(pulled in 12.5s, 1234.6 MB)", ""},
		{"pulled before", []m{jobObject(), waitingPod("ContainerCreating", ""), event(2, "Pod", "Pulled", `Container image "x" already present on machine`)}, Pulling, "Pulled", starting, "has the image and", ""},
		{"volume", []m{jobObject(), waitingPod("ContainerCreating", ""), event(1, "Pod", "FailedMount", `MountVolume.SetUp failed for volume "s" : secret "hf" not found`)}, Pulling, "FailedMount", starting, "hf", "create the Secret"},
		{"image missing", []m{jobObject(), waitingPod("ErrImagePull", pull+`failed to resolve image: reg/train@sha256:1: not found`)}, Pulling, "ErrImagePull", hopeless, "not in its registry", "ibuild exists"},
		{"image missing, later", []m{jobObject(), waitingPod("ImagePullBackOff", `Back-off pulling image "reg/train@sha256:1": ErrImagePull: `+pull+`failed to resolve image: reg/train@sha256:1: not found`)},
			Pulling, "ImagePullBackOff", hopeless, "not in its registry", ""},
		{"another architecture", []m{jobObject(), waitingPod("ErrImagePull", pull+`no match for platform in manifest: not found`)}, Pulling, "ErrImagePull", hopeless, "architecture", "linux/arm64"},
		{"certificate not trusted", []m{jobObject(), waitingPod("ErrImagePull", `failed to resolve reference "r/x@sha256:1": failed to do request: Head "https://r/v2/x/manifests/sha256:1": tls: failed to verify certificate: x509: certificate signed by unknown authority`)},
			Pulling, "ErrImagePull", hopeless, "do not trust the registry", "certificate"},
		{"a digest with 404 in it", []m{jobObject(), waitingPod("ErrImagePull", `failed to copy: httpReadSeeker: failed open: Get "https://r/v2/x/blobs/sha256:9404429ab?X-Amz-Signature=1": EOF`)},
			Pulling, "ErrImagePull", pullError, "cannot be pulled", "try again"},
		{"signature", []m{jobObject(), waitingPod("SignatureValidationFailed", `image pull failed for r/x because the signature validation failed`)},
			Pulling, "SignatureValidationFailed", hopeless, "does not accept", "signed"},
		{"may not pull", []m{jobObject(), waitingPod("ErrImagePull", `failed to pull and unpack image "x": failed to resolve image: failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://us-docker.pkg.dev/v2/token: 403 Forbidden`)},
			Pulling, "ErrImagePull", hopeless, "may not pull", "artifactregistry.reader"},
		{"Docker Hub says no", []m{jobObject(), waitingPod("ErrImagePull", `failed to pull and unpack image "docker.io/me/x:1": failed to resolve image: pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`)},
			Pulling, "ErrImagePull", hopeless, "may not pull", ""},
		{"registry has no name", []m{jobObject(), waitingPod("ErrImagePull", `failed to pull and unpack image "x": failed to resolve image: failed to do request: Head "https://reg/v2/train/manifests/sha256:1": dial tcp: lookup reg on 10.0.0.10:53: no such host`)},
			Pulling, "ErrImagePull", pullError, "does not answer the nodes", "try again"},
		{"registry is busy", []m{jobObject(), waitingPod("ImagePullBackOff", `Back-off pulling image "x": ErrImagePull: failed to copy: httpReadSeeker: failed open: unexpected status code https://reg/v2/: 429 Too Many Requests`)},
			Pulling, "ImagePullBackOff", pullError, "429", ""},
		{"back-off without a cause", []m{jobObject(), waitingPod("ImagePullBackOff", `Back-off pulling image "x"`)}, Pulling, "ImagePullBackOff", pullError, "cannot be pulled", ""},
		{"invalid name", []m{jobObject(), waitingPod("InvalidImageName", `Failed to apply default image tag "X": couldn't parse image name "X": invalid reference format`)}, Pulling, "InvalidImageName", hopeless, "not valid", ""},
		{"Secret missing", []m{jobObject(), waitingPod("CreateContainerConfigError", `secret "hf" not found`)}, Pulling, "CreateContainerConfigError", hopeless, `secret "hf" not found`, "--mount-secret"},
		{"Secret not seen yet", []m{jobObject(), waitingPod("CreateContainerConfigError", `failed to sync secret cache: timed out waiting for the condition`)}, Pulling, "CreateContainerConfigError", starting, "failed to sync", ""},
		{"root forbidden", []m{jobObject(), waitingPod("CreateContainerConfigError", `container has runAsNonRoot and image will run as root (pod: "x", container: main)`)}, Pulling, "CreateContainerConfigError", hopeless, "runAsNonRoot", "USER"},

		{"running", []m{jobObject(), runningPod("train-x")}, Running, "", noCause, "", ""},
		{"node does not answer", []m{jobObject(), runningPod("train-x"), notReady}, Running, "NodeLost", nodeLost, "node-1 does not answer", "--retries"},
		{"node taken away", []m{retries, disruptedPod("Failed", "DeletionByPodGC", "PodGC: node no longer exists")}, Preempted, "DeletionByPodGC", noCause, "no longer there; another pod is made", ""},
		{"spot taken back", []m{jobObject(), with(disruptedPod("Failed", "TerminationByKubelet", "Pod was terminated in response to imminent node shutdown."), "true", "spec", "nodeSelector", "cloud.google.com/gke-spot")},
			Preempted, "TerminationByKubelet", noCause, "spot machine was taken back", "--retries"},
		{"preempted by priority", []m{retries, disruptedPod("Running", "PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod")}, Preempted, "PreemptionByScheduler", noCause, "higher priority", ""},
		{"to be tried again", []m{retries, terminatedPod(1, "Error", "")}, Pending, "Error", noCause, "attempt 1 failed: the program ended with exit code 1; another one is made (2 left)", ""},
		{"about to fail", []m{jobObject(), terminatedPod(1, "Error", "")}, Running, "Error", noCause, "exit code 1", ""},

		{"succeeded", []m{jobObject(conditionObject("Complete", "CompletionsReached", "Reached expected number of succeeded pods")), endedPod("train-x", 0)}, Succeeded, "", noCause, "", ""},
		{"exit code", []m{failedJob(), terminatedPod(3, "Error", "")}, Failed, "Error", noCause, "exit code 3", ""},
		{"out of memory", []m{failedJob(), with(terminatedPod(137, "OOMKilled", ""), []any{m{"name": ProgramContainer, "image": "x", "resources": m{"limits": m{"memory": "2Gi"}}}}, "spec", "containers")},
			Failed, "OOMKilled", noCause, "more memory than it may (2Gi)", "--memory"},
		{"killed", []m{failedJob(), terminatedPod(137, "Error", "")}, Failed, "Error", noCause, "exit code 137 (it was killed)", "--memory"},
		{"no such command", []m{failedJob(), terminatedPod(128, "StartError", `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/x": stat /x: no such file or directory: unknown`)},
			Failed, "StartError", noCause, "could not be started", "not in the image"},
		{"wrong architecture", []m{failedJob(), terminatedPod(128, "StartError", `exec /ibuild/bootstrap: exec format error`)}, Failed, "StartError", noCause, "", "another architecture"},
		{"installing failed", []m{failedJob(), terminatedPod(1, "Error", `{"phase":"install","exitCode":1,"message":"No solution found when resolving dependencies"}`)}, Failed, "InstallFailed", noCause, "No solution found", ""},
		{"results failed", []m{failedJob(), terminatedPod(1, "Error", `{"phase":"results","exitCode":0,"message":"403 Forbidden"}`)}, Failed, "ResultsFailed", noCause, "could not be pushed: 403", "--results-auth"},
		{"too long for the bootstrap", []m{failedJob(), terminatedPod(124, "Error", `{"phase":"timeout","exitCode":143,"message":"the time limit of 1m is over"}`)}, Failed, "DeadlineExceeded", noCause, "the time limit of 1m is over", "--timeout"},
		{"evicted", []m{failedJob(), evictedPod("Evicted", "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 12Ki.")}, Failed, "Evicted", noCause, "low on resource", "--volume"},
		{"device gone", []m{failedJob(), evictedPod("UnexpectedAdmissionError", "Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 4, Available: 3, which is unexpected")},
			Failed, "UnexpectedAdmissionError", noCause, "refused the pod", "--retries"},
		{"too long", []m{failedJob(), with(evictedPod("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"), 60, "spec", "activeDeadlineSeconds")},
			Failed, "DeadlineExceeded", noCause, "longer than its --timeout of 1m0s", "--timeout"},
		{"too long as a whole", []m{jobObject(conditionObject("Failed", "DeadlineExceeded", "Job was active longer than specified deadline"))}, Failed, "DeadlineExceeded", noCause, "longer than it may", "--timeout"},
		{"node lost without retries", []m{jobObject(conditionObject("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")), with(disruptedPod("Running", "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"), "2026-11-23T04:06:00Z", "metadata", "deletionTimestamp"), notReady},
			Failed, "DeletionByTaintManager", noCause, "was not reachable", "--retries"},
		{"node lost with retries", []m{with(retries, m{"rules": []any{}}, "spec", "podFailurePolicy"), with(disruptedPod("Running", "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"), "2026-11-23T04:06:00Z", "metadata", "deletionTimestamp"), notReady},
			Preempted, "DeletionByTaintManager", nodeLost, "as soon as the node is back", "kubectl delete node node-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := look(t, c.objects...)
			if f.Phase != c.phase || f.Reason != c.reason || f.cause != c.cause {
				t.Errorf("%s, %q, cause %d", f.Phase, f.Reason, f.cause)
			}
			if !strings.Contains(f.Message, c.message) || c.message == "" && c.hint == "" && f.Message != "" {
				t.Errorf("message %q", f.Message)
			}
			if !strings.Contains(f.Hint, c.hint) || c.hint == "" && c.cause == noCause && f.Phase == Succeeded && f.Hint != "" {
				t.Errorf("hint %q", f.Hint)
			}
		})
	}
}

func indexed(p m, index, uid string, finished string) m {
	p = with(with(with(p, "train-"+uid, "metadata", "name"), uid, "metadata", "uid"), m{indexAnnotation: index}, "metadata", "annotations")
	if finished != "" {
		state := p["status"].(m)["containerStatuses"].([]any)[0].(m)["state"].(m)
		state["terminated"].(m)["finishedAt"] = finished
	}
	return p
}

// TestDecideSeveralHosts takes the host that failed first as the reason, and the
// one that is least far as the state.
func TestDecideSeveralHosts(t *testing.T) {
	job := func(conditions ...any) m {
		return with(with(jobObject(conditions...), 4, "spec", "completions"), "Indexed", "spec", "completionMode")
	}
	f := look(t, job(), indexed(runningPod("x"), "0", "a", ""), indexed(runningPod("x"), "1", "b", ""), indexed(waitingPod("ContainerCreating", ""), "2", "c", ""))
	if f.Phase != Pending || f.Message != "1 of 4 hosts: the cluster has not made a pod yet" || f.Hosts[2].Phase != Pulling || f.Hosts[1].Phase != Running {
		t.Errorf("%+v", f.State)
	}
	f = look(t, job(conditionObject("Failed", "BackoffLimitExceeded", "")),
		indexed(terminatedPod(143, "Error", ""), "0", "a", "2026-11-23T04:05:09Z"), indexed(terminatedPod(7, "Error", ""), "2", "c", "2026-11-23T04:05:01Z"))
	if f.Phase != Failed || f.ExitCode != 7 || f.Message != "host 2: the program ended with exit code 7" {
		t.Errorf("%+v", f.State)
	}
	f = look(t, job(), indexed(terminatedPod(1, "Error", ""), "0", "a", ""), indexed(runningPod("x"), "1", "b", ""), indexed(runningPod("x"), "2", "c", ""), indexed(runningPod("x"), "3", "d", ""))
	if f.Phase != Running || f.Hosts[0].Phase != Failed || f.Hosts[0].ExitCode != 1 {
		t.Errorf("%+v", f.State)
	}
}

// TestDecideFirstTrouble: a host that fails as another one was taken away is not the reason.
func TestDecideFirstTrouble(t *testing.T) {
	job := with(with(jobObject(conditionObject("Failed", "BackoffLimitExceeded", "")), 2, "spec", "completions"), "Indexed", "spec", "completionMode")
	taken := indexed(disruptedPod("Failed", "TerminationByKubelet", "Pod was terminated in response to imminent node shutdown."), "0", "a", "")
	f := look(t, job, taken, indexed(terminatedPod(7, "Error", ""), "1", "b", "2026-11-23T04:59:09Z"))
	if f.Phase != Failed || !strings.HasPrefix(f.Message, "host 0: node node-1 stopped the pod") || !strings.Contains(f.Hint, "--retries") {
		t.Errorf("%+v", f.State)
	}
	// one that has no node yet has nothing to do with it, however long it waits
	f = look(t, job, indexed(unscheduledPod("0/1 nodes are available: 1 Insufficient google.com/tpu."), "0", "a", ""), indexed(terminatedPod(7, "Error", ""), "1", "b", "2026-11-23T04:59:09Z"))
	if f.ExitCode != 7 || f.Message != "host 1: the program ended with exit code 7" {
		t.Errorf("%+v", f.State)
	}
}

// TestDecideBlind: who may not read events does not see an autoscaler at work, and the job is not given up for that.
func TestDecideBlind(t *testing.T) {
	o := observe(t, jobObject(), unscheduledPod("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))
	o.blind[events.Resource] = errors.New("forbidden")
	if f := decide(o.snapshot()); f.cause != scalingUp || !strings.Contains(f.Message, "you may not read events") {
		t.Errorf("%+v", f)
	}
}

// TestEventsOfOneSecond orders what was said within one second.
func TestEventsOfOneSecond(t *testing.T) {
	for range 20 { // they are kept in a map, whose order differs
		f := look(t, jobObject(), waitingPod("ContainerCreating", ""), with(event(1, "Pod", "Pulled", `Successfully pulled image "x" in 1s (1s including waiting). Image size: 1 bytes.`), "100", "metadata", "resourceVersion"),
			with(event(1, "Pod", "Pulling", `Pulling image "x"`), "99", "metadata", "resourceVersion"))
		if f.Reason != "Pulled" {
			t.Fatalf("%+v", f.State)
		}
	}
}

// TestDecideAttempts takes the newest pod of a place.
func TestDecideAttempts(t *testing.T) {
	second := with(with(with(runningPod("x"), "train-y", "metadata", "name"), "uid-y", "metadata", "uid"), "2026-11-23T04:06:00Z", "metadata", "creationTimestamp")
	f := look(t, with(jobObject(), 2, "spec", "backoffLimit"), terminatedPod(1, "Error", ""), second)
	if f.Phase != Running || f.Attempt != 2 || f.Hosts[0].Pod != "train-y" || f.Hosts[0].Restarts != 1 {
		t.Errorf("%+v", f.State)
	}
}

func TestDecideJobSet(t *testing.T) {
	set := m{"kind": "JobSet", "apiVersion": "jobset.x-k8s.io/v1alpha2", "metadata": m{"name": "train", "uid": "s", "creationTimestamp": "2026-11-23T04:00:00Z"},
		"spec": m{"failurePolicy": m{"maxRestarts": 2}, "replicatedJobs": []any{m{"name": "slice", "replicas": 2, "template": m{"spec": m{"completions": 2}}}}}, "status": m{"restarts": 1}}
	pod := func(slice, index, uid string) m {
		return with(indexed(runningPod("x"), index, uid, ""), m{sliceLabel: slice, restartLabel: "1", JobLabel: "train"}, "metadata", "labels")
	}
	f := look(t, set, pod("0", "0", "a"), pod("0", "1", "b"), pod("1", "0", "c"), pod("1", "1", "d"))
	if f.Phase != Running || len(f.Hosts) != 4 || f.Hosts[3] != (Host{Slice: 1, Index: 1, Pod: "train-d", Node: "node-1", Phase: Running}) || f.Attempt != 2 {
		t.Errorf("%+v", f.State)
	}
	f = look(t, with(set, []any{conditionObject("Completed", "AllJobsCompleted", "jobset completed successfully")}, "status", "conditions"))
	if f.Phase != Succeeded {
		t.Errorf("%+v", f.State)
	}
	f = look(t, with(set, []any{conditionObject("Failed", "FailedJobs", "jobset failed due to one or more job failures")}, "status", "conditions"), pod("0", "0", "a"), with(pod("1", "1", "d"), "Failed", "status", "phase"))
	if f.Phase != Failed || !strings.HasPrefix(f.Message, "2 attempts failed; the last: host 1/1") {
		t.Errorf("%+v", f.State)
	}
}

func TestJudge(t *testing.T) {
	start := time.Unix(1_790_000_000, 0)
	f := func(c cause) finding { return finding{State: State{Phase: Pending, Message: "it waits"}, cause: c} }
	for _, c := range []struct {
		name      string
		d         Deadlines
		cause     cause
		after     time.Duration
		abandoned bool
	}{
		{"hopeless", Deadlines{}, hopeless, 0, true},
		{"no node yet", Deadlines{}, noNode, 4 * time.Minute, false},
		{"no node", Deadlines{}, noNode, 5 * time.Minute, true},
		{"no node, as long as it takes", Deadlines{NoNode: -1}, noNode, 100 * time.Hour, false},
		{"no node, soon", Deadlines{NoNode: time.Second}, noNode, time.Second, true},
		{"scaling up", Deadlines{}, scalingUp, 100 * time.Hour, false},
		{"scaling up, soon", Deadlines{ScaleUp: time.Minute}, scalingUp, time.Minute, true},
		{"running", Deadlines{}, noCause, 1000 * time.Hour, false},
		{"node lost", Deadlines{}, nodeLost, 6 * time.Minute, true},
	} {
		var p patience
		p.judge(f(c.cause), c.d, start)
		s, left := p.judge(f(c.cause), c.d, start.Add(c.after))
		if s.Abandoned != c.abandoned || s.Abandoned != (s.Phase == Failed) || (left > 0) == c.abandoned && left > 0 {
			t.Errorf("%s: %+v, %v left", c.name, s, left)
		}
	}
	var p patience // another cause starts anew
	p.judge(f(noNode), Deadlines{}, start)
	p.judge(f(scalingUp), Deadlines{}, start.Add(4*time.Minute))
	if s, left := p.judge(f(noNode), Deadlines{}, start.Add(8*time.Minute)); s.Abandoned || left != 5*time.Minute {
		t.Errorf("%+v, %v", s, left)
	}
}

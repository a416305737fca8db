package gke

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// whyWaiting describes a container that cannot start. It is false for one that
// is just being prepared. The reasons are the kubelet's.
func whyWaiting(p *corev1.Pod, s corev1.ContainerStatus) (words, cause, bool) {
	reason, text := s.State.Waiting.Reason, s.State.Waiting.Message
	switch reason {
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed", "ErrImageNeverPull":
		w, why := whyNotPulled(s.Image, text)
		w.reason = reason
		return w, why, true
	case "InvalidImageName":
		return words{reason, "the image's name " + s.Image + " is not valid", "write NAME@sha256:… as the registry gave it"}, hopeless, true
	case "CreateContainerConfigError":
		return words{reason, "the container cannot be set up: " + oneLine(text), configHint(text)}, setUp(text), true
	case "CreateContainerError", "RunContainerError", "CrashLoopBackOff", "StartError", "PreCreateHookError", "PreStartHookError", "PostStartHookError":
		if t := s.LastTerminationState.Terminated; t != nil && text == "" {
			text = t.Message
		}
		return words{reason, "the container cannot be started: " + oneLine(text), startHint(text)}, setUp(text), true
	}
	return words{}, noCause, false
}

// setUp is the cause where a kubelet could not make a container: it tries again,
// and what only took too long, or is of an attempt before, may work then.
func setUp(text string) cause {
	for _, passing := range []string{"failed to sync", "timed out", "deadline exceeded", "failed to reserve container name", "connection refused", "error while dialing"} {
		if has(text, passing) {
			return starting
		}
	}
	return hopeless
}

// configHint names the remedies for a container whose settings do not hold.
func configHint(text string) string {
	switch {
	case has(text, "secret", "not found"), has(text, "couldn't find key"):
		return "create the Secret with this key in the job's namespace, or leave its --mount-secret out"
	case has(text, "configmap", "not found"):
		return "create the ConfigMap in the job's namespace"
	case has(text, "runasnonroot"), has(text, "run as non-root"), has(text, "run as root"):
		return "the namespace asks for images that do not run as root: set a USER by number in the image"
	}
	return ""
}

// startHint names the remedies for a command that cannot be started.
func startHint(text string) string {
	switch {
	case has(text, "exec format error"):
		return "the image is for another architecture than the node: build it with the --accelerator that it runs on"
	case has(text, "no such file or directory"), has(text, "executable file not found"):
		return "the command is not in the image; ibuild inspect shows what is"
	case has(text, "permission denied"):
		return "the command is in the image and may not be executed: chmod +x"
	case has(text, "chdir"), has(text, "working directory"):
		return "the working directory is not in the image"
	}
	return ""
}

// whyNotPulled reads what a container runtime says of an image that it cannot
// pull. containerd's texts are what GKE's nodes give; they quote the registry.
func whyNotPulled(image, text string) (words, cause) {
	text = text[:min(len(text), 16<<10)]
	switch {
	case has(text, "no match for platform"), has(text, "no matching manifest"), has(text, "does not match the specified platform"):
		return words{message: "the image " + image + " is not there for the node's architecture",
			hint: "build it for the accelerator's platform: gb200 and gb300 are linux/arm64, all others linux/amd64"}, hopeless
	case has(text, "server gave http response to https client"), has(text, "x509:"), has(text, "certificate"):
		return words{message: "the nodes do not trust the registry of " + image + ": " + runtimeText(text),
			hint: "the nodes need the registry's certificate, or another registry"}, hopeless
	case has(text, "401 unauthorized"), has(text, "403 forbidden"), has(text, "insufficient_scope"), has(text, "pull access denied"), has(text, "no basic auth"), has(text, "authentication required"), has(text, "denied:"), has(text, "unauthorized:"):
		return words{message: "the nodes may not pull the image " + image + ": " + runtimeText(text),
			hint: "let the nodes' service account read the repository (Artifact Registry: roles/artifactregistry.reader), or log in on this machine so that ibuild hands a pull secret on"}, hopeless
	case transient(text):
		return words{message: "the registry of " + image + " does not answer the nodes: " + runtimeText(text),
			hint: "the nodes try again; a registry on this machine or in another network cannot be reached from the cluster"}, pullError
	case has(text, "signature verification"), has(text, "signature validation"), has(text, "invalid signature"), has(text, "no signature"):
		return words{message: "the node does not accept the image " + image + ": " + runtimeText(text),
			hint: "the cluster asks for signed images"}, hopeless
	case has(text, "not found"), has(text, "manifest unknown"), has(text, "name unknown"), has(text, "status code 404"), has(text, "status: 404"):
		return words{message: "the image " + image + " is not in its registry",
			hint: "push it to where the nodes pull from, and check its name: ibuild exists " + image}, hopeless
	case has(text, "no space left"):
		return words{message: "a node's disk is too small for the image " + image, hint: "take a node pool with a larger boot disk"}, hopeless
	case has(text, "neverpull"), has(text, "never pull"):
		return words{message: "the image " + image + " is not on the node, and may not be pulled"}, hopeless
	}
	return words{message: "the image " + image + " cannot be pulled: " + runtimeText(text), hint: "the nodes try again"}, pullError
}

// transient says that a later try may go better. It comes before "not found":
// a name server that knows no such host says so in these words, too.
func transient(text string) bool {
	for _, sign := range []string{"no such host", "connection refused", "connection reset", "i/o timeout", "timeout awaiting", "context deadline exceeded",
		"tls handshake timeout", "network is unreachable", "no route to host", "too many requests", "toomanyrequests", "status code 429", "status: 429", "unexpected eof",
		"500 internal server error", "502 bad gateway", "503 service unavailable", "504 gateway timeout", "server misbehaving", "temporary failure", "qps exceeded"} {
		if has(text, sign) {
			return true
		}
	}
	return false
}

// runtimeText drops what wraps the words of a registry: who called whom.
func runtimeText(text string) string {
	for _, mark := range []string{"failed to resolve image: ", "failed to resolve reference ", "failed to copy: ", "failed to do request: ", "desc = "} {
		if n := strings.LastIndex(text, mark); n >= 0 {
			text = text[n+len(mark):]
			break
		}
	}
	return oneLine(text)
}

// pulledImage is the image that an event Pulling is about, in its message in
// quotes; the pod's own where it is not to be found.
func pulledImage(p *corev1.Pod, e *corev1.Event) string {
	if _, rest, ok := strings.Cut(e.Message, `"`); ok {
		if image, _, ok := strings.Cut(rest, `"`); ok && image != "" && len(image) < 1024 {
			return oneLine(image)
		}
	}
	if len(p.Spec.Containers) > 0 {
		return p.Spec.Containers[0].Image
	}
	return "the image"
}

// pullFigures reads time and size of an event Pulled, such as
// `… in 1.2s (1.2s including waiting). Image size: 123 bytes.`, for people.
// It is empty when the image was there already.
func pullFigures(text string) string {
	_, rest, ok := strings.Cut(text[:min(len(text), 4096)], `" in `)
	if !ok {
		return ""
	}
	took, rest, _ := strings.Cut(rest, " ")
	figures := " (pulled in " + oneLine(took)
	if _, size, ok := strings.Cut(rest, "Image size: "); ok {
		if n := atoi(size); n > 0 {
			figures += ", " + megabytes(n)
		}
	}
	return figures + ")"
}

package gke

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// TerminationMessage is what the bootstrap leaves for the cluster when it ends:
// Kubernetes keeps it in the container's status. Package bootstrap writes the
// same fields; a test in integration compares the two.
type TerminationMessage struct {
	Phase    string `json:"phase"`             // what it was doing when it ended, as below
	ExitCode int    `json:"exitCode"`          // of the program, or of the installer
	Message  string `json:"message,omitempty"` // for people; the installer's last words
	Result   string `json:"result,omitempty"`  // digest of the results that were pushed
}

// What the bootstrap was doing when it ended.
const (
	InstallPhase = "install" // uv installed the dependencies of prebuilt mode
	RunPhase     = "run"     // the program ran
	ResultsPhase = "results" // the results were pushed
	TimeoutPhase = "timeout" // the time limit of --timeout was over
)

// maxTermination is the most that Kubernetes keeps of one container's message, in bytes.
const maxTermination = 4096

// parseTermination reads the message of a container. It is false for a text that
// no bootstrap wrote: a custom image may leave anything there.
func parseTermination(text string) (TerminationMessage, bool) {
	var m TerminationMessage
	if len(text) > maxTermination || !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &m) != nil {
		return TerminationMessage{}, false
	}
	switch m.Phase {
	case InstallPhase, RunPhase, ResultsPhase, TimeoutPhase:
		return m, true
	}
	return TerminationMessage{}, false
}

// terminated is how the program of a pod ended, nil as long as it has not.
func terminated(p *corev1.Pod) *corev1.ContainerStateTerminated {
	if c := program(p); c != nil {
		return c.State.Terminated
	}
	return nil
}

// program is the status of the container in which the program runs. It is nil
// before a kubelet has seen the pod.
func program(p *corev1.Pod) *corev1.ContainerStatus {
	for n := range p.Status.ContainerStatuses {
		if c := &p.Status.ContainerStatuses[n]; c.Name == ProgramContainer {
			return c
		}
	}
	return nil
}

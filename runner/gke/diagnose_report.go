package gke

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Report is all that a person, or a program, needs to find out what is the
// matter with a job. Times are the cluster's. Texts come from the cluster and
// may hold anything: escape them for a terminal.
type Report struct {
	Job        string            `json:"job"`
	Namespace  string            `json:"namespace"`
	Kind       string            `json:"kind"`
	Phase      Phase             `json:"phase"`
	Reason     string            `json:"reason,omitempty"`
	Message    string            `json:"message,omitempty"`
	Hint       string            `json:"hint,omitempty"`
	ExitCode   int               `json:"exitCode"`
	Attempt    int               `json:"attempt"`
	Since      time.Time         `json:"since"`
	Created    time.Time         `json:"created"`
	Facts      map[string]string `json:"facts,omitempty"` // what ibuild noted of the job
	Conditions []string          `json:"conditions,omitempty"`
	Queue      []string          `json:"queue,omitempty"`  // what Kueue says of the job
	Quotas     []string          `json:"quotas,omitempty"` // the namespace's
	Hosts      []HostReport      `json:"hosts"`
	Events     []EventReport     `json:"events"`           // the last maxReportEvents, the oldest first
	Unread     []string          `json:"unread,omitempty"` // what could not be read, and why
}

// HostReport is one host in a Report.
type HostReport struct {
	Slice      int       `json:"slice"`
	Index      int       `json:"index"`
	Pod        string    `json:"pod,omitempty"`
	Node       string    `json:"node,omitempty"`
	Phase      Phase     `json:"phase"`
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
	ExitCode   int       `json:"exitCode"`
	Restarts   int       `json:"restarts"`
	Since      time.Time `json:"since"`
	Conditions []string  `json:"conditions,omitempty"` // of the pod
	Containers []string  `json:"containers,omitempty"` // the states of its containers
	OfNode     []string  `json:"nodeConditions,omitempty"`
	LastLines  []string  `json:"lastLines,omitempty"` // of its output, when it failed
}

// EventReport is one event in a Report.
type EventReport struct {
	Time    time.Time `json:"time"`
	About   string    `json:"about"` // "Pod train-abc"
	Warning bool      `json:"warning"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Count   int       `json:"count"`
}

const (
	maxReportEvents = 60
	maxReportLogs   = 8  // hosts whose last lines are read
	lastLines       = 20 // of each
)

// Debug reads all that the cluster says about the job, once. What the caller may
// not read is named in Unread.
func (r *Run) Debug(ctx context.Context) (*Report, error) {
	o, err := r.observe(ctx)
	if err != nil {
		return nil, err
	}
	f := decide(o)
	rep := &Report{Job: r.Name, Namespace: r.Namespace, Kind: o.main.GetKind(), Phase: f.Phase, Reason: f.Reason, Message: f.Message, Hint: f.Hint,
		ExitCode: f.ExitCode, Attempt: f.Attempt, Since: f.Since, Created: o.main.GetCreationTimestamp().Time,
		Facts: facts(o.main), Conditions: conditionTexts(conditions(o.main)), Queue: conditionTexts(conditions(o.workload)), Events: reportEvents(o.events)}
	for resource, err := range o.blind {
		rep.Unread = append(rep.Unread, resource+": "+oneLine(err.Error()))
	}
	for _, h := range o.hosts() {
		rep.Hosts = append(rep.Hosts, o.reportHost(h))
	}
	r.addQuotas(ctx, rep)
	r.addLastLines(ctx, rep)
	sort.Strings(rep.Unread)
	return rep, nil
}

// facts are the annotations that ibuild wrote, without their domain.
func facts(u *unstructured.Unstructured) map[string]string {
	m := map[string]string{}
	for name, value := range u.GetAnnotations() {
		if short, ok := strings.CutPrefix(name, Domain); ok && name != submissionAnnotation {
			m[short] = value
		}
	}
	return m
}

func conditionTexts(list []metav1.Condition) []string {
	var out []string
	for _, c := range list {
		out = append(out, conditionText(c.Type, string(c.Status), c.Reason, c.Message))
	}
	return out
}

func conditionText(kind, status, reason, message string) string {
	text := kind + "=" + status
	if reason != "" {
		text += " " + reason
	}
	if message != "" {
		text += ": " + oneLine(message)
	}
	return text
}

// reportHost describes one host with what its pod and its node say of themselves.
func (o *observed) reportHost(h hostFinding) HostReport {
	out := HostReport{Slice: h.Slice, Index: h.Index, Pod: h.Pod, Node: h.Node, Phase: h.Phase, Reason: h.Reason, Message: h.Message,
		ExitCode: h.ExitCode, Restarts: h.Restarts, Since: h.since}
	if h.pod == nil {
		return out
	}
	for _, c := range h.pod.Status.Conditions {
		out.Conditions = append(out.Conditions, conditionText(string(c.Type), string(c.Status), c.Reason, c.Message))
	}
	for _, s := range slices.Concat(h.pod.Status.InitContainerStatuses, h.pod.Status.ContainerStatuses) {
		out.Containers = append(out.Containers, containerText(s))
	}
	if n := o.nodes[h.Node]; n != nil {
		for _, c := range n.Status.Conditions {
			if (c.Type == corev1.NodeReady) != (c.Status == corev1.ConditionTrue) { // what is not as it should be
				out.OfNode = append(out.OfNode, conditionText(string(c.Type), string(c.Status), c.Reason, c.Message))
			}
		}
		for _, t := range n.Spec.Taints {
			out.OfNode = append(out.OfNode, "taint "+t.ToString())
		}
	}
	if o.lost[h.Node] {
		out.OfNode = append(out.OfNode, "it is no longer there")
	}
	return out
}

// containerText is the state of one container.
func containerText(s corev1.ContainerStatus) string {
	text := s.Name + ": "
	switch {
	case s.State.Running != nil:
		text += "running since " + s.State.Running.StartedAt.UTC().Format(time.RFC3339)
	case s.State.Terminated != nil:
		t := s.State.Terminated
		text += fmt.Sprintf("ended with %d (%s)", t.ExitCode, t.Reason)
		if t.Message != "" {
			text += ": " + oneLine(t.Message)
		}
	case s.State.Waiting != nil:
		text += "waiting: " + s.State.Waiting.Reason
		if s.State.Waiting.Message != "" {
			text += ": " + oneLine(s.State.Waiting.Message)
		}
	default:
		text += "not started"
	}
	if s.RestartCount > 0 {
		text += fmt.Sprintf(", %d restarts", s.RestartCount)
	}
	return text
}

func reportEvents(list []*corev1.Event) []EventReport {
	out := []EventReport{}
	for _, e := range list[max(0, len(list)-maxReportEvents):] {
		count := int(e.Count)
		if e.Series != nil {
			count = int(e.Series.Count)
		}
		out = append(out, EventReport{Time: eventTime(e), About: e.InvolvedObject.Kind + " " + e.InvolvedObject.Name, Warning: e.Type == corev1.EventTypeWarning,
			Reason: e.Reason, Message: oneLine(e.Message), Count: max(count, 1)})
	}
	return out
}

// addQuotas reads what the namespace may use, and uses.
func (r *Run) addQuotas(ctx context.Context, rep *Report) {
	list, err := r.in(schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}).List(ctx, metav1.ListOptions{Limit: pageSize})
	if err != nil {
		rep.Unread = append(rep.Unread, "resourcequotas: "+oneLine(err.Error()))
		return
	}
	for _, item := range list.Items {
		q := &corev1.ResourceQuota{}
		if runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, q) != nil {
			continue
		}
		for name, hard := range q.Status.Hard {
			used := q.Status.Used[name]
			rep.Quotas = append(rep.Quotas, fmt.Sprintf("%s: %s of %s %s used", q.Name, used.String(), hard.String(), name))
		}
	}
	sort.Strings(rep.Quotas)
}

// addLastLines reads the end of what the failed hosts wrote.
func (r *Run) addLastLines(ctx context.Context, rep *Report) {
	read := 0
	for n := range rep.Hosts {
		h := &rep.Hosts[n]
		if h.Phase != Failed && h.Phase != Preempted || h.Pod == "" || read >= maxReportLogs {
			continue
		}
		read++
		options := LogOptions{Tail: lastLines, Hosts: []Place{{h.Slice, h.Index}}}
		err := r.Logs(ctx, options, func(l Line) error {
			text := l.Text[:min(len(l.Text), 4096)]
			if l.Note {
				text = "(" + text + ")"
			}
			h.LastLines = append(h.LastLines, text)
			return nil
		})
		if err != nil {
			rep.Unread = append(rep.Unread, "output of "+h.Pod+": "+oneLine(err.Error()))
		}
	}
}

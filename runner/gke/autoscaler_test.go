package gke

import (
	"slices"
	"strings"
	"testing"
)

// newStatus is in the autoscaler's form since 1.30.
const newStatus = `time: 2026-11-23 05:00:00 +0000 UTC
autoscalerStatus: Running
clusterWide:
  health: {status: Healthy}
nodeGroups:
- name: https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/instanceGroups/gke-c-l4-0123abcd-grp
  health:
    status: Healthy
    nodeCounts: {registered: {total: 2, ready: 2, notStarted: 0}, longUnregistered: 0}
    cloudProviderTarget: 2
    minSize: 1
    maxSize: 4
  scaleUp: {status: NoActivity}
- name: https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/instanceGroups/gke-c-h100-0123abcd-grp
  health: {status: Healthy, cloudProviderTarget: 0, minSize: 0, maxSize: 2}
  scaleUp:
    status: Backoff
    backoffInfo: {errorCode: QUOTA_EXCEEDED, errorMessage: "Quota 'GPUS' exceeded.\n  Limit: 0"}
- name: gke-c-off-0123abcd-grp
  health: {status: Healthy, minSize: 0, maxSize: 0}
- name: gke-c-ill-0123abcd-grp
  health: {status: Unhealthy, maxSize: 1}
`

// oldStatus is in the form before that.
const oldStatus = `Cluster-autoscaler status at 2023-11-24 04:28:19.546750398 +0000 UTC:
Cluster-wide:
  Health:      Healthy (ready=7 unready=0 notStarted=0 registered=7 longUnregistered=0)
               LastProbeTime:      2023-11-24 04:28:19.408724799 +0000 UTC m=+48988.192673876
  ScaleUp:     NoActivity (ready=7 registered=7)

NodeGroups:
  Name:        https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/instanceGroups/gke-c-l4-0123abcd-grp
  Health:      Healthy (ready=2 unready=0 (resourceUnready=0) notStarted=0 registered=2 longUnregistered=0 cloudProviderTarget=2 (minSize=1, maxSize=4))
               LastProbeTime:      2023-11-24 04:28:19.408724799 +0000 UTC m=+48988.192673876
  ScaleUp:     NoActivity (ready=2 cloudProviderTarget=2)
  ScaleDown:   NoCandidates (candidates=0)

  Name:        gke-c-h100-0123abcd-grp
  Health:      Healthy (ready=0 unready=0 registered=0 cloudProviderTarget=0 (minSize=0, maxSize=2))
  ScaleUp:     Backoff (ready=0 cloudProviderTarget=0)
`

func TestParseAutoscaler(t *testing.T) {
	l4 := nodeGroup{name: "gke-c-l4-0123abcd-grp", max: 4}
	for _, c := range []struct {
		name, text string
		want       []nodeGroup
		err        string
	}{
		{"new", newStatus, []nodeGroup{l4,
			{name: "gke-c-h100-0123abcd-grp", max: 2, trouble: "the autoscaler waits after a failure, QUOTA_EXCEEDED: Quota 'GPUS' exceeded. Limit: 0"},
			{name: "gke-c-ill-0123abcd-grp", max: 1, trouble: "the autoscaler finds it unhealthy"}}, ""},
		{"old", oldStatus, []nodeGroup{l4, {name: "gke-c-h100-0123abcd-grp", max: 2, trouble: "the autoscaler waits after a failure"}}, ""},
		{"new without groups", "autoscalerStatus: Initializing\n", nil, ""},
		{"old without groups", "Cluster-autoscaler status at now:\nCluster-wide:\n", nil, ""},
		{"empty", "", nil, "not as the autoscaler writes it"},
		{"something else", "hello: world", nil, "not as the autoscaler writes it"},
		{"no YAML", "autoscalerStatus: [", nil, "not as the autoscaler writes it"},
		{"words for numbers", "nodeGroups: [{name: a, health: {maxSize: many}}]", nil, "not as the autoscaler writes it"},
		{"too long", strings.Repeat("#", maxStatus+1), nil, "at most"},
	} {
		got, err := parseAutoscaler(c.text)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
	}
}

// FuzzParseAutoscaler: whoever may write the ConfigMap cannot bring ibuild down.
func FuzzParseAutoscaler(f *testing.F) {
	for _, text := range []string{newStatus, oldStatus, "", "a: &a [*a]", "Cluster-autoscaler status at\nName:\nHealth: maxSize=99999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		groups, err := parseAutoscaler(text)
		if err != nil && groups != nil {
			t.Error("groups and an error")
		}
		for _, g := range groups {
			if g.max <= 0 || len(g.trouble) > 2000 {
				t.Errorf("%+v", g)
			}
			g.ofPool("l4", []string{"gke-c-l4-0123abcd-x"})
			_ = g.pool()
		}
	})
}

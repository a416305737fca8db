package gke

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// sliceJob has everything that is made beside a job.
func sliceJob(t *testing.T) Job {
	j := testJob(t, "v5e-16")
	j.Namespace, j.Owner = "ml", "me@laptop"
	j.SecretEnv, j.PullConfig = []Variable{{"HF_TOKEN", "canary"}}, []byte(`{"auths":{}}`)
	return j
}

func TestSubmit(t *testing.T) {
	c, kept := storeOf(t)
	j := sliceJob(t)
	run, err := c.Submit(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	if run.Name != j.Name || run.Namespace != "ml" || run.Kind != "Job" || run.Fact("owner") != "me@laptop" {
		t.Errorf("%+v", run)
	}
	all := kept.names()
	if len(all) != 4 || !slices.Contains(all, "Job/"+j.Name) {
		t.Errorf("%q", all)
	}
	for _, name := range all {
		if !strings.HasPrefix(name, "Job/") && !strings.HasSuffix(name, " of Job/"+j.Name) {
			t.Errorf("%s does not go with the job", name)
		}
	}
	var taken *TakenError
	if _, err := c.Submit(t.Context(), j); !errors.As(err, &taken) || taken.Owner != "me@laptop" {
		t.Errorf("a second one: %v", err)
	}
	if again := kept.names(); !slices.Equal(all, again) {
		t.Errorf("a second one changed the first: %q", again)
	}
}

// TestSubmitTakesBack: whatever fails, nothing is left.
func TestSubmitTakesBack(t *testing.T) {
	for _, c := range []struct{ method, resource string }{
		{"POST", "secrets"}, {"POST", "services"}, {"POST", "jobs"}, {"PUT", "secrets"}, {"PUT", "services"},
	} {
		cluster, kept := storeOf(t)
		kept.refuse = func(method, resource string) (int, metav1.StatusReason) {
			if method == c.method && resource == c.resource {
				return http.StatusForbidden, metav1.StatusReasonForbidden
			}
			return 0, ""
		}
		var e *Error
		if _, err := cluster.Submit(t.Context(), sliceJob(t)); !errors.As(err, &e) || e.Refusal != NoRights {
			t.Errorf("%s %s: %v", c.method, c.resource, err)
		}
		if left := kept.names(); len(left) > 0 {
			t.Errorf("%s %s leaves %q", c.method, c.resource, left)
		}
	}
}

// TestSubmitLosesAnswer: what was made without that anybody heard is found and removed; what others have made is not.
func TestSubmitLosesAnswer(t *testing.T) {
	for _, resource := range []string{"secrets", "services", "jobs"} {
		c, kept := storeOf(t, object("Secret", "theirs", time.Hour, "you", false))
		kept.lose = resource
		var e *Error
		if _, err := c.Submit(t.Context(), sliceJob(t)); !errors.As(err, &e) || e.Refusal != NoAnswer {
			t.Errorf("%s: %v", resource, err)
		}
		if left := kept.names(); !slices.Equal(left, []string{"Secret/theirs"}) {
			t.Errorf("%s: %q is left", resource, left)
		}
	}
}

// TestSubmitNamesOwner: what is left without its job is somebody's.
func TestSubmitNamesOwner(t *testing.T) {
	c, kept := storeOf(t)
	if _, err := c.Submit(t.Context(), sliceJob(t)); err != nil {
		t.Fatal(err)
	}
	for name, o := range kept.objects {
		if !(Selection{Owner: "me@laptop"}).has(o) {
			t.Errorf("%s names no owner", name)
		}
	}
}

// TestSubmitConflict: a part that somebody changes at the same moment is tied to the job all the same.
func TestSubmitConflict(t *testing.T) {
	c, kept := storeOf(t)
	failed := 0
	kept.refuse = func(method, resource string) (int, metav1.StatusReason) {
		if method != http.MethodPut || resource != "services" || failed == 2 {
			return 0, ""
		}
		failed++
		return http.StatusConflict, metav1.StatusReasonConflict
	}
	j := sliceJob(t)
	if _, err := c.Submit(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if all := kept.names(); !slices.Contains(all, "Service/"+j.Name+" of Job/"+j.Name) {
		t.Errorf("%q", all)
	}
}

// object is one of a namespace, of an age, with labels as ibuild sets them unless it is foreign.
func object(kind, name string, age time.Duration, owner string, foreign bool) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetAPIVersion(map[string]string{"Job": "batch/v1", "JobSet": "jobset.x-k8s.io/v1alpha2"}[kind])
	if o.GetAPIVersion() == "" {
		o.SetAPIVersion("v1")
	}
	o.SetKind(kind)
	o.SetNamespace("ml")
	o.SetName(name)
	o.SetCreationTimestamp(metav1.NewTime(time.Now().Add(-age)))
	if !foreign {
		job, _, _ := strings.Cut(name, ".")
		o.SetLabels(map[string]string{ManagedByLabel: ManagedBy, JobLabel: job})
	}
	o.SetAnnotations(map[string]string{ownerAnnotation: owner})
	return o
}

func endedJob(o *unstructured.Unstructured) *unstructured.Unstructured {
	o.Object["status"] = map[string]any{"succeeded": int64(1), "conditions": []any{map[string]any{"type": "Complete", "status": "True"}}}
	return o
}

func TestCleanup(t *testing.T) {
	const old = time.Hour
	owned := object("Secret", "runs.env", old, "me", false)
	owned.SetOwnerReferences([]metav1.OwnerReference{{Kind: "Job", Name: "runs"}})
	managed := object("Secret", "managed", old, "me", true)
	managed.SetLabels(map[string]string{ManagedByLabel: ManagedBy}) // of something else that is called ibuild
	everything := func() []*unstructured.Unstructured {
		return []*unstructured.Unstructured{
			endedJob(object("Job", "done", old, "me", false)), object("Job", "runs", old, "me", false), endedJob(object("Job", "theirs", old, "you", false)),
			endedJob(object("Job", "foreign", old, "me", true)), object("JobSet", "set", old, "me", false),
			owned.DeepCopy(), managed.DeepCopy(), object("Secret", "gone.env", old, "me", false), object("Secret", "new.env", time.Minute, "me", false),
			object("Secret", "set.env", old, "me", false), object("Service", "gone", old, "me", false), object("Secret", "other", old, "", true),
		}
	}
	for _, c := range []struct {
		name         string
		s            Selection
		running, dry bool
		want         []string
	}{
		{"what has ended", Selection{Owner: "me"}, false, false, []string{"job ml/done", "secret ml/gone.env", "service ml/gone"}},
		{"everybody's", Selection{}, false, false, []string{"job ml/done", "job ml/theirs", "secret ml/gone.env", "service ml/gone"}},
		{"what runs", Selection{Owner: "me"}, true, false, []string{"job ml/done", "job ml/runs", "jobset ml/set", "secret ml/gone.env", "service ml/gone"}},
		{"one job", Selection{Names: []string{"done"}}, false, false, []string{"job ml/done"}},
		{"dry", Selection{}, true, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster, kept := storeOf(t, everything()...)
			before := kept.names()
			removed, err := cluster.Cleanup(t.Context(), c.s, c.running, c.dry)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(removed)
			if c.dry {
				if left := kept.names(); !slices.Equal(left, before) || len(removed) != 6 {
					t.Errorf("would remove %q, left %q", removed, left)
				}
				return
			}
			if c.running { // its Secret has no owner, and with the job gone nobody needs it
				removed = slices.DeleteFunc(removed, func(s string) bool { return s == "secret ml/set.env" })
			}
			if !slices.Equal(removed, c.want) {
				t.Errorf("removed %q, want %q", removed, c.want)
			}
			left := kept.names()
			for _, keep := range []string{"Job/foreign", "Secret/managed", "Secret/other", "Secret/new.env"} {
				if !slices.Contains(left, keep) {
					t.Errorf("%s is gone", keep)
				}
			}
		})
	}
}

// TestFind: a job is found by whoever asks, and what is not ibuild's is not.
func TestFind(t *testing.T) {
	c, kept := storeOf(t, object("Job", "train", time.Hour, "you", false), object("Job", "foreign", time.Hour, "", true), object("JobSet", "set", time.Minute, "me", false))
	for name, kind := range map[string]string{"train": "Job", "set": "JobSet", "foreign": "", "none": ""} {
		run, err := c.Find(t.Context(), name)
		var e *Error
		if kind == "" && (!errors.As(err, &e) || e.Refusal != NotThere || e.Hint == "") || kind != "" && (err != nil || run.Kind != kind) {
			t.Errorf("%s: %+v, %v", name, run, err)
		}
	}
	names := func() (list []string) {
		found, err := c.List(t.Context(), Selection{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range found {
			list = append(list, s.Run.Name)
		}
		return list
	}
	if got := names(); !slices.Equal(got, []string{"set", "train"}) {
		t.Errorf("%q: not the newest first, or not ibuild's", got)
	}
	kept.refuse = func(_, resource string) (int, metav1.StatusReason) {
		if resource == "jobsets" {
			return http.StatusForbidden, metav1.StatusReasonForbidden
		}
		return 0, ""
	}
	if got := names(); !slices.Equal(got, []string{"train"}) {
		t.Errorf("who may not list JobSets sees %q", got)
	}
}

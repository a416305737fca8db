package gke

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestJobErrors(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for want, change := range map[string]func(*Job){
		`name: a DNS-1035 label`:        func(j *Job) { j.Name = "Train" },
		`name: must be no more than 50`: func(j *Job) { j.Name = strings.Repeat("a", 51) },
		`name: is too long by 2 for the pods`: func(j *Job) {
			j.Name, j.Slices = strings.Repeat("a", 48), 100
			j.Accelerator = mustResolve("v5e:4x4")
		},
		`namespace: must not contain dots`:                             func(j *Job) { j.Namespace = "a.b" },
		`image: "me/train:v1" is not NAME@sha256`:                      func(j *Job) { j.Image = "me/train:v1" },
		`image: "a\nb@sha256:`:                                         func(j *Job) { j.Image = "a\nb@sha256:" + strings.Repeat("0", 64) },
		`argument 2: holds bytes that are no UTF-8`:                    func(j *Job) { j.Args = []string{"a", "\xff"} },
		`argument 1: holds a NUL`:                                      func(j *Job) { j.Command = []string{"\x00"} },
		`argument 3: has 204800 bytes`:                                 func(j *Job) { j.Args = []string{"a", "b", long} },
		`working directory: "app" is not absolute`:                     func(j *Job) { j.Dir = "app" },
		`accelerator: `:                                                func(j *Job) { j.Accelerator = Accelerator{} },
		`slices: l4:1 has no slices`:                                   func(j *Job) { j.Slices = 2; j.Accelerator = mustResolve("l4") },
		`slices: -1 is negative`:                                       func(j *Job) { j.Slices = -1 },
		`slices: 10000000 times 4 hosts`:                               func(j *Job) { j.Slices = 10000000; j.Accelerator = mustResolve("v5e:4x4") },
		`cpu: "many" is no quantity`:                                   func(j *Job) { j.CPU = "many" },
		`memory: -1 is not more than 0`:                                func(j *Job) { j.Memory = "-1" },
		`shm: 0 is not more than 0`:                                    func(j *Job) { j.Shm = "0" },
		`timeout: -1s is not between`:                                  func(j *Job) { j.Timeout = -time.Second },
		`keep: 876000h0m0s is not between`:                             func(j *Job) { j.Keep = 100 * 365 * 24 * time.Hour },
		`retries: -1 is not between`:                                   func(j *Job) { j.Retries = -1 },
		`reservation: "a/b" is neither`:                                func(j *Job) { j.Reservation = "a/b" },
		`queue: a valid label`:                                         func(j *Job) { j.Queue = "a b" },
		`priority: is Kueue's`:                                         func(j *Job) { j.Priority = "high" },
		`flex-start: cannot be had together with reservation and spot`: func(j *Job) { j.FlexStart, j.Spot, j.Reservation = true, true, "r" },
		`node label "a b": name part`:                                  func(j *Job) { j.Selector = map[string]string{"a b": "c"} },
		`node label "kubernetes.io/arch": "arm64" contradicts "amd64"`: func(j *Job) { j.Selector = map[string]string{"kubernetes.io/arch": "arm64"} },
		`env "A B": a valid environment variable`:                      func(j *Job) { j.Env = []Variable{{"A B", ""}} },
		`env "": `:                                func(j *Job) { j.Env = []Variable{{"", "x"}} },
		`env "A": is set twice`:                   func(j *Job) { j.Env, j.SecretEnv = []Variable{{"A", "1"}}, []Variable{{"A", "2"}} },
		`env "A": holds bytes that are no UTF-8`:  func(j *Job) { j.SecretEnv = []Variable{{"A", "canary\xff"}} },
		`env "A": has 204802 bytes`:               func(j *Job) { j.Env = []Variable{{"A", long}} },
		`env "TPU_WORKER_ID": cannot be set: GKE`: func(j *Job) { j.Env = []Variable{{"TPU_WORKER_ID", "0"}}; j.Accelerator = mustResolve("v5e-4") },
		`env "MEGASCALE_SLICE_ID": cannot be set: ibuild`: func(j *Job) {
			j.Env = []Variable{{"MEGASCALE_SLICE_ID", "0"}}
			j.Accelerator, j.Slices = mustResolve("v5e:4x4"), 2
		},
		`secret variables: have 1048577 bytes`: func(j *Job) { j.SecretEnv = manyVariables(1<<20 + 1) },
		`Job: has `:                            func(j *Job) { j.Env = manyVariables(1 << 20) },
		`secret "A": a lowercase`:              func(j *Job) { j.Secrets = []SecretMount{{"A", ""}} },
		`secret "a": "/etc/../a" is not a plain absolute folder`: func(j *Job) { j.Secrets = []SecretMount{{"a", "/etc/../a"}} },
		`volume "/a": needs a claim or a bucket`:                 func(j *Job) { j.Volumes = []Volume{{Path: "/a"}} },
		`volume "/b": needs a claim or a bucket, and not both`:   func(j *Job) { j.Volumes = []Volume{{Path: "/b", Claim: "a", Bucket: "abc"}} },
		`volume "/a": /a has volume "/a" already`:                func(j *Job) { j.Volumes = []Volume{{Path: "/a", Claim: "a"}, {Path: "/a", Claim: "b"}} },
		`volume "/dev/shm": /dev/shm has shared memory already`:  func(j *Job) { j.Volumes = []Volume{{Path: "/dev/shm", Claim: "a"}} },
		`volume "/ibuild": /ibuild is ibuild's`:                  func(j *Job) { j.Volumes = []Volume{{Path: "/ibuild", Claim: "a"}} },
		`volume "/proc/1": /proc/1 is the system's`:              func(j *Job) { j.Volumes = []Volume{{Path: "/proc/1", Claim: "a"}} },
		`volume "/a:b": "/a:b" holds a colon`:                    func(j *Job) { j.Volumes = []Volume{{Path: "/a:b", Claim: "a"}} },
		`volume "/a": "Bucket" is no name of a bucket`:           func(j *Job) { j.Volumes = []Volume{{Path: "/a", Bucket: "Bucket"}} },
		`volume "/a": "../b" is not a plain folder`:              func(j *Job) { j.Volumes = []Volume{{Path: "/a", Claim: "a", Sub: "../b"}} },
		`volume "/a": "b,rw" holds a character`:                  func(j *Job) { j.Volumes = []Volume{{Path: "/a", Bucket: "abc", Sub: "b,rw"}} },
		`service account: a lowercase`:                           func(j *Job) { j.ServiceAccount = "A" },
		`pull credential: is no JSON object`:                     func(j *Job) { j.PullConfig = []byte("canary") },
		`result credential: has 1048579 bytes`:                   func(j *Job) { j.ResultConfig = []byte(`{` + strings.Repeat(" ", 1<<20+1) + `}`) },
		`owner: holds bytes`:                                     func(j *Job) { j.Owner = "\xff" },
		`fact "a b": name part`:                                  func(j *Job) { j.Facts = map[string]string{"a b": ""} },
		`fact "owner": is set from the job itself`:               func(j *Job) { j.Facts = map[string]string{"owner": "me"} },
		`facts: have `: func(j *Job) { j.Facts = map[string]string{"a": strings.Repeat("x", 256<<10)} },
	} {
		j := testJob(t, "cpu")
		change(&j)
		_, err := Manifests(j)
		var e *JobError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwithout %s", err, want)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("a value is shown: %v", err)
		}
	}
}

func mustResolve(text string) Accelerator {
	a, err := Resolve(text, false)
	if err != nil {
		panic(err)
	}
	return a
}

// manyVariables have so many bytes of values together.
func manyVariables(size int) []Variable {
	var list []Variable
	for i := 0; size > 0; i++ {
		n := min(size, 100<<10)
		list = append(list, Variable{fmt.Sprintf("V%d", i), strings.Repeat("x", n)})
		size -= n
	}
	return list
}

// TestAllFindings: a person who has mended one thing does not want to meet the next.
func TestAllFindings(t *testing.T) {
	j := testJob(t, "cpu")
	j.Name, j.Image, j.CPU, j.Env = "", "x", "y", []Variable{{"1", "\x00"}}
	_, err := Manifests(j)
	var e *JobError
	if !errors.As(err, &e) || len(e.Findings) != 5 {
		t.Errorf("%v", err)
	}
}

func TestNewName(t *testing.T) {
	for _, c := range []struct{ base, unique, want string }{
		{"train.py", "7k2m", "train-py-7k2m"},
		{"My Model/v2", "7K2M", "my-model-v2-7k2m"},
		{"", "7k2m", "job-7k2m"},
		{"123-fast", "x", "fast-x"},
		{"ünïcode", "x", "n-code-x"},
		{"日本", "x", "job-x"},
		{"a", "", "a"},
		{"", "", "job"},
		{"--a--b--", "-", "a-b"},
		{strings.Repeat("long", 30), "0123456789abcdefgh", strings.Repeat("long", 7)[:27] + "-6789abcdefgh"},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbb", "12345", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-12345"},
	} {
		if got := NewName(c.base, c.unique); got != c.want {
			t.Errorf("%q, %q: %q, not %q", c.base, c.unique, got, c.want)
		}
	}
}

func FuzzNewName(f *testing.F) {
	f.Add("train.py", "7k2m")
	f.Add("9-", "-")
	f.Fuzz(func(t *testing.T, base, unique string) {
		j := testJob(t, "v5e:4x4")
		if j.Name = NewName(base, unique); len(j.Name) > newNameSize {
			t.Errorf("%q has %d characters", j.Name, len(j.Name))
		}
		j.Slices = 100
		if _, err := Manifests(j); err != nil {
			t.Errorf("%q, %q: %v", base, unique, err)
		}
	})
}

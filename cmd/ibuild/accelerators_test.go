package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ibuild/ibuild/runner/gke"
)

// accelerators runs the command and returns what it wrote.
func accelerators(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	app := newApp()
	app.Writer = &out
	err := app.RunContext(context.Background(), append([]string{"ibuild", "accelerators"}, args...))
	return out.String(), err
}

func TestAcceleratorsList(t *testing.T) {
	out, err := accelerators(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"NAME ", "l4:2 ", "g2-standard-24\n", "v5e:2x4:ct5lp-hightpu-4t ", "v5p:16x16x24 ", "gb200:4 ", "arm64", "95 GB",
		"v5e: also v5litepod\n", "v5p: any AxBxC of multiples of 4 up to 140 times 4x4x4, the sides ascending\n", "k80: Google Cloud no longer has it\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	// every name in the list is one that can be asked for
	for _, line := range strings.Split(out[:strings.Index(out, "\n\n")], "\n")[1:] {
		name, _, _ := strings.Cut(line, " ")
		if a, err := gke.Resolve(name, true); err != nil || a.String() != name {
			t.Errorf("%s is read as %s, %v", name, a, err)
		}
	}
	var list []gke.Entry
	if out, err = accelerators(t, "--format", "json"); err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) != len(gke.Catalogue()) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAcceleratorsNames(t *testing.T) {
	out, err := accelerators(t, "V5P-8:spot", "gb200", "cpu")
	want := `v5p:2x2x2:spot
  devices        8 chips on 2 hosts with 4 each, spot
  memory         95 GB each
  machines       ct5p-hightpu-4t
  platform       linux/amd64
  node labels    cloud.google.com/gke-spot=true
                 cloud.google.com/gke-tpu-accelerator=tpu-v5p-slice
                 cloud.google.com/gke-tpu-topology=2x2x2
                 kubernetes.io/arch=amd64
  each pod asks  google.com/tpu: 4
  note           8 is read as chips: v5p:2x2x2, 8 chips, 2 hosts; the Cloud TPU that is named by 8 TensorCores is v5p:2x2x1, 4 chips, 1 host

gb200:4
  devices        4 GPUs on 1 host
  memory         186 GB each
  machines       a4x-highgpu-4g
  platform       linux/arm64
  node labels    cloud.google.com/gke-accelerator=nvidia-gb200
                 kubernetes.io/arch=arm64
  each pod asks  nvidia.com/gpu: 4
  note           gb200 without a number is read as 4 GPUs

cpu
  devices      none
  platform     linux/amd64
  node labels  kubernetes.io/arch=amd64
`
	if err != nil || out != want {
		t.Errorf("%v\n%s", err, out)
	}
	var list []request
	out, err = accelerators(t, "--format", "json", "l4x2")
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || list[0].Name != "l4:2" || list[0].NodeLabel["cloud.google.com/gke-accelerator"] != "nvidia-l4" {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAcceleratorsErrors(t *testing.T) {
	for args, want := range map[string]string{
		"l40":                        `accelerator "l40": there is no accelerator of the name "l40" | the nearest are l4:1 (1 GPU), `,
		"--strict-accelerator v5p-8": `accelerator "v5p-8": 8 is ambiguous for v5p: it may be chips, or TensorCores as in the names of Cloud TPUs | write v5p:2x2x2 (8 chips, 2 hosts) or v5p:2x2x1 (4 chips, 1 host)`,
		"--format xml":               `--format cannot be "xml" | write text or json`,
	} {
		_, err := accelerators(t, strings.Fields(args)...)
		if got := usageOf(t, err); !strings.Contains(got, want) {
			t.Errorf("%s: %s", args, got)
		}
	}
}

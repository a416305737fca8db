package gke

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolve(t *testing.T) {
	for text, want := range map[string]string{ // canonical text, hosts × devices, label, arch
		"cpu":                        "cpu 1×0  amd64",
		"CPU":                        "cpu 1×0  amd64",
		"cpu:spot":                   "cpu:spot 1×0  amd64",
		"gpu":                        "gpu:1 1×1  amd64",
		"gpu:4":                      "gpu:4 1×4  amd64",
		"gpux4":                      "gpu:4 1×4  amd64",
		"l4":                         "l4:1 1×1 nvidia-l4 amd64",
		" L4 ":                       "l4:1 1×1 nvidia-l4 amd64",
		"l4:spot":                    "l4:1:spot 1×1 nvidia-l4 amd64",
		"L4x2:SPOT":                  "l4:2:spot 1×2 nvidia-l4 amd64",
		"gpu:l4":                     "l4:1 1×1 nvidia-l4 amd64",
		"gpu-l4":                     "l4:1 1×1 nvidia-l4 amd64",
		"gpu:l4x2":                   "l4:2 1×2 nvidia-l4 amd64",
		"a100x4":                     "a100:4 1×4 nvidia-tesla-a100 amd64",
		"a100-4":                     "a100:4 1×4 nvidia-tesla-a100 amd64",
		"a100:16":                    "a100:16 1×16 nvidia-tesla-a100 amd64",
		"a100-40gbx8":                "a100:8 1×8 nvidia-tesla-a100 amd64",
		"gpu:a100-80gb:2":            "a100-80gb:2 1×2 nvidia-a100-80gb amd64",
		"nvidia-a100-80gb:8":         "a100-80gb:8 1×8 nvidia-a100-80gb amd64",
		"nvidia-tesla-t4":            "t4:1 1×1 nvidia-tesla-t4 amd64",
		"h100-mega":                  "h100-mega:8 1×8 nvidia-h100-mega-80gb amd64",
		"h100-80gb:8:a3-edgegpu-8g":  "h100:8:a3-edgegpu-8g 1×8 nvidia-h100-80gb amd64",
		"gb200":                      "gb200:4 1×4 nvidia-gb200 arm64",
		"GB300x4":                    "gb300:4 1×4 nvidia-gb300 arm64",
		"rtx-pro-6000-8":             "rtx-pro-6000:8 1×8 nvidia-rtx-pro-6000 amd64",
		"tpu":                        "v5e:2x2 1×4 tpu-v5-lite-podslice amd64",
		"tpu:8":                      "v5e:2x4 1×8 tpu-v5-lite-podslice amd64",
		"tpu:4x4":                    "v5e:4x4 4×4 tpu-v5-lite-podslice amd64",
		"v5litepod-4":                "v5e:2x2 1×4 tpu-v5-lite-podslice amd64",
		"v5e-1":                      "v5e:1x1 1×1 tpu-v5-lite-podslice amd64",
		"v5e-256":                    "v5e:16x16 64×4 tpu-v5-lite-podslice amd64",
		"v5e-2x4":                    "v5e:2x4 1×8 tpu-v5-lite-podslice amd64",
		"v5e:2x4:ct5lp-hightpu-4t":   "v5e:2x4:ct5lp-hightpu-4t 2×4 tpu-v5-lite-podslice amd64",
		"v5e:ct5lp-hightpu-4t:8":     "v5e:2x4:ct5lp-hightpu-4t 2×4 tpu-v5-lite-podslice amd64",
		"v5e:ct5lp-hightpu-8t":       "v5e:2x4:ct5lp-hightpu-8t 1×8 tpu-v5-lite-podslice amd64",
		"tpu-v5-lite-podslice:8":     "v5e:2x4 1×8 tpu-v5-lite-podslice amd64",
		"tpu-v6e-8":                  "v6e:2x4 1×8 tpu-v6e-slice amd64",
		"tpu:v6e-8":                  "v6e:2x4 1×8 tpu-v6e-slice amd64",
		"trillium":                   "v6e:2x2 1×4 tpu-v6e-slice amd64",
		"tpu:v5p:2x2x1":              "v5p:2x2x1 1×4 tpu-v5p-slice amd64",
		"v5p-2x2x2:spot":             "v5p:2x2x2:spot 2×4 tpu-v5p-slice amd64",
		"tpu-v5p-slice:2x2x1":        "v5p:2x2x1 1×4 tpu-v5p-slice amd64",
		"v5p:8":                      "v5p:2x2x2 2×4 tpu-v5p-slice amd64",
		"v5p:4x4x28":                 "v5p:4x4x28 112×4 tpu-v5p-slice amd64", // by the rule of cubes
		"v5p:4x4x28:ct5p-hightpu-4t": "v5p:4x4x28:ct5p-hightpu-4t 112×4 tpu-v5p-slice amd64",
		"v4:12x8x8":                  "v4:12x8x8 192×4 tpu-v4-podslice amd64", // any order of the sides
		"tpu7x:4":                    "tpu7x:2x2x1 1×4 tpu7x amd64",
		"tpu7x":                      "tpu7x:2x2x1 1×4 tpu7x amd64",
		"7x-1":                       "tpu7x:1x1x1 1×1 tpu7x amd64",
		"ironwood:2x2x2":             "tpu7x:2x2x2 2×4 tpu7x amd64",
		"tpu7:256":                   "tpu7:4x8x8 64×4 tpu7 amd64",
		"v3":                         "v3:4x4 4×4 tpu-v3-slice amd64",
		"tpu-v3-device":              "v3-device:2x2 1×4 tpu-v3-device amd64",
	} {
		a, err := Resolve(text, false)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := strings.Join([]string{a.String(), strconv.Itoa(a.Hosts) + "×" + strconv.Itoa(a.PerHost), a.Label, a.Arch}, " ")
		if got != want {
			t.Errorf("%q is %q, not %q", text, got, want)
		}
		if a.Chips != a.Hosts*a.PerHost {
			t.Errorf("%q: %+v", text, a)
		}
	}
}

func TestAmbiguousNumbers(t *testing.T) {
	for text, want := range map[string]string{
		"v5p-8":   "8 is read as chips: v5p:2x2x2, 8 chips, 2 hosts; the Cloud TPU that is named by 8 TensorCores is v5p:2x2x1, 4 chips, 1 host",
		"v4-16":   "16 is read as chips: v4:2x2x4, 16 chips, 4 hosts; the Cloud TPU that is named by 16 TensorCores is v4:2x2x2, 8 chips, 2 hosts",
		"tpu7x:8": "8 is read as chips: tpu7x:2x2x2, 8 chips, 2 hosts; the Cloud TPU that is named by 8 TensorCores is tpu7x:2x2x1, 4 chips, 1 host",
		"v3-32":   "32 is read as chips: v3:4x8, 32 chips, 8 hosts; the Cloud TPU that is named by 32 TensorCores is v3:4x4, 16 chips, 4 hosts",
	} {
		a, err := Resolve(text, false)
		if err != nil || a.Note != want {
			t.Errorf("%s: %v, %q", text, err, a.Note)
		}
		var e *AcceleratorError
		if _, err := Resolve(text, true); !errors.As(err, &e) || !strings.Contains(e.Msg, "ambiguous") || strings.Count(e.Hint, "host") != 2 {
			t.Errorf("%s, strict: %+v", text, err)
		}
	}
	for _, text := range []string{"v5p-4", "tpu7x-1", "v5e-8", "v6e-16", "v5p:2x2x1", "l4x2", "a100x8"} { // one reading only
		if a, err := Resolve(text, true); err != nil || a.Note != "" {
			t.Errorf("%s, strict: %v, %q", text, err, a.Note)
		}
	}
}

func TestNotes(t *testing.T) {
	for text, want := range map[string]string{
		"tpu":                  "tpu without a name is read as v5e: 4 chips, 1 host",
		"v6e":                  "v6e without a number is read as 4 chips, 1 host",
		"v3":                   "v3 without a number is read as 16 chips, 4 hosts",
		"h200":                 "h200 without a number is read as 8 GPUs",
		"l4":                   "",
		"gpu":                  "",
		"cpu":                  "",
		"v5e:ct5lp-hightpu-8t": "",
	} {
		if a, err := Resolve(text, false); err != nil || a.Note != want {
			t.Errorf("%s: %v, %q", text, err, a.Note)
		}
	}
}

func TestResolveErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                         `accelerator "": the name is missing | write cpu, a GPU such as l4 or a100x4, or a TPU such as v5e-4; ibuild accelerators lists all there are`,
		"v6x-8":                    `accelerator "v6x-8": there is no accelerator of the name "v6x" | the nearest are v6e:2x4 (8 chips, 1 host), tpu7x:2x2x2 (8 chips, 2 hosts), v3:4x4 (16 chips, 4 hosts), v4:2x2x2 (8 chips, 2 hosts), v5e:2x4 (8 chips, 1 host); ibuild accelerators lists all there are`,
		"a10":                      `| the nearest are a100:1 (1 GPU), `,
		"l40x4":                    `| the nearest are l4:4 (4 GPUs), `,
		"gpu:h10":                  `there is no accelerator of the name "h10" | the nearest are h100:1 (1 GPU)`,
		"l4x3":                     `there is no l4 with 3 GPUs | there are l4:2, l4:4, l4:1, l4:8`,
		"h200x1":                   `there is no h200 with 1 GPU | there are h200:8`,
		"v5e-12":                   `there is no v5e with 12 chips | the nearest are v5e:2x4 (8 chips, 1 host), v5e:2x4:ct5lp-hightpu-4t (8 chips, 2 hosts), v5e:4x4 (16 chips, 4 hosts), `,
		"v3-8":                     `there is no v3 with 8 chips | the nearest are v3:4x4 (16`, // also as TensorCores
		"v5p-12288":                `there is no v5p with 12288 chips | if 12288 are TensorCores, as in the names of Cloud TPUs, write v5p:16x16x24 (6144 chips, 1536 hosts)`,
		"v5p:4x2x2":                `there is no v5p with 4x2x2 | the nearest are v5p:2x2x4 (16 chips, 4 hosts)`,
		"v5p:8x4x4":                `there is no v5p with 8x4x4 |`,
		"v5p:16x16x40":             `there is no v5p with 16x16x40`, // 160 cubes
		"v5e:3x3":                  `there is no v5e with 3x3 |`,
		"v5e:02x2":                 `"02x2" is neither a number, a topology nor a machine type of v5e`,
		"v5e:0":                    `0 is no number of devices`,
		"l4:2x2":                   `l4 has no topology, only TPUs have | there are l4:1, l4:2, l4:4, l4:8`,
		"gpu:2x2":                  `gpu has no topology`,
		"cpu:4":                    `a cpu has no number of devices`,
		"gpu:v5e":                  `v5e is a TPU | write v5e`,
		"tpu:l4:2":                 `l4 is a GPU | write l4:2`,
		"l4:2:4":                   `"4" is neither a number, a topology nor a machine type of l4`,
		"l4::2":                    `"" is neither`,
		"l4:":                      `"" is neither`,
		":l4":                      `the name is missing`,
		"gpu:16:x":                 `"x" is neither`,
		"gpu:3":                    `there is no gpu with 3 GPUs | there are gpu:2, gpu:4, gpu:1, gpu:8, gpu:16`,
		"t4:n1-*":                  `"n1-*" is neither`,
		"v5e:2x4:ct5lp-hightpu-1t": `there is no v5e with 2x4 on ct5lp-hightpu-1t`,
		"l4\x1b[31m":               `accelerator "l4\x1b[31m": there is no accelerator of the name "l4\x1b[31m"`,
		strings.Repeat("a", 1000):  `is too long`,
	} {
		a, err := Resolve(text, false)
		var e *AcceleratorError
		if !errors.As(err, &e) {
			t.Errorf("%q is %+v, %v", text, a, err)
			continue
		}
		if got := e.Error() + " | " + e.Hint; !strings.Contains(got, want) {
			t.Errorf("%q: %s\nwithout %s", text, got, want)
		}
	}
}

// TestAllSizes asks for each size of the catalogue in each way that there is to write it.
func TestAllSizes(t *testing.T) {
	for _, e := range Catalogue() {
		for _, o := range e.Options {
			for _, name := range append([]string{e.Name, e.Label, string(e.Kind) + ":" + e.Name}, e.Aliases...) {
				for _, sep := range []string{":", "-"} {
					text := name + sep + o.Size()
					if e.Kind == TPU && strings.HasPrefix(o.Machines[0], "ct") {
						text += ":" + o.Machines[0]
					}
					a, err := Resolve(text, true)
					if err != nil || a.Name != e.Name || a.Chips != o.Chips || a.Hosts != o.Hosts || a.Topology != o.Topology {
						t.Errorf("%s: %+v, %v", text, a, err)
					}
				}
			}
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{"cpu", "gpu:4", "a100x4", "tpu:v5p:2x2x1", "v5litepod-4", "tpu-v6e-8:spot", "v4:12x8x8", "v5e:2x4:ct5lp-hightpu-4t",
		"nvidia-l4:2", "x", "--", "tpu-tpu-tpu-v5e", "v5p:9999x9999x9999", "999999999"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, strict bool) {
		a, err := Resolve(text, strict)
		if err != nil {
			var e *AcceleratorError
			if !errors.As(err, &e) || e.Msg == "" || e.Hint == "" || len(e.Error())+len(e.Hint) > 4000 {
				t.Errorf("%q: %T of %d bytes: %v", text, err, len(err.Error()), err)
			}
			return
		}
		if a.Hosts < 1 || a.Chips != a.Hosts*a.PerHost || a.Arch == "" || (a.Chips == 0) != (a.Kind == CPU) {
			t.Errorf("%q: %+v", text, a)
		}
		a.Note = ""
		again, err := Resolve(a.String(), true)
		if diff := cmp.Diff(a, again); err != nil || diff != "" {
			t.Errorf("%q is %s, which is read otherwise: %v\n%s", text, a, err, diff)
		}
	})
}

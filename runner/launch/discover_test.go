package launch

import (
	"slices"
	"testing"
)

// TestReached: of a lock, what extras and groups of the project alone need is not installed.
func TestReached(t *testing.T) {
	edges := func(names ...string) (list []edge) {
		for _, n := range names {
			list = append(list, edge{Name: n})
		}
		return list
	}
	locked := []lockedPackage{
		{Name: "train", Dependencies: edges("flax"), Optional: map[string][]edge{"gpu": {{Name: "jax", Extra: []string{"cuda12"}}}}},
		{Name: "flax", Dependencies: edges("jax", "numpy")},
		{Name: "jax", Dependencies: edges("jaxlib"), Optional: map[string][]edge{"cuda12": edges("jax-cuda12-plugin"), "tpu": edges("libtpu")}},
		{Name: "jaxlib"}, {Name: "jax-cuda12-plugin"}, {Name: "libtpu"}, {Name: "numpy", Dependencies: edges("flax")}, {Name: "pytest"},
	}
	for _, c := range []struct {
		from, want []string
	}{
		{[]string{"flax"}, []string{"flax", "jax", "numpy", "jaxlib"}},
		{[]string{"Jax[CUDA12]>=0.5"}, []string{"jax", "jaxlib", "jax-cuda12-plugin"}},
		{nil, nil},
		{[]string{"not a requirement !", "none"}, nil},
	} {
		var from []requirement
		for _, text := range c.from {
			from = append(from, requirement{Text: text})
		}
		var got []string
		for _, p := range reached(locked, from) {
			got = append(got, p.Name)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.from, got, c.want)
		}
	}
}

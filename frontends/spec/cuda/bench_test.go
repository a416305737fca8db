package cuda

import "testing"

func BenchmarkChoose(b *testing.B) {
	w := Wish{CUDA: "12", CuDNN: "9", Requirements: []string{"numpy", "torch>=2.4", "jax[cuda12]>=0.5", "tensorflow>=2.18"}, Python: "3.12"}
	for b.Loop() {
		if _, findings := Choose(w); len(findings) > 0 {
			b.Fatal(findings)
		}
	}
}

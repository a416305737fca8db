package spec

import "testing"

// BenchmarkLoad reads, validates and lowers one spec with its files.
func BenchmarkLoad(b *testing.B) {
	src := read(b, "testdata/sources/image.yaml")
	for b.Loop() {
		if _, err := Load(src); err != nil {
			b.Fatal(err)
		}
	}
}

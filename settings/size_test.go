package settings

import (
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "12": 12, "12b": 12, "10GB": 10e9, "10 gb": 10e9, "1.5g": 1.5e9, "2TB": 2e12, "500MB": 500e6, "3k": 3000,
		"1GiB": 1 << 30, "1gi": 1 << 30, " 7mib ": 7 << 20,
		"": -1, "GB": -1, "-1GB": -1, "10%": -1, "1ib": -1, "1,5GB": -1, "1e9": -1, "10PB": -1, "9999999999999TB": -1, "1..5G": -1,
	} {
		got, err := ParseSize(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestSizesOfFile(t *testing.T) {
	cfg, err := parse("c.toml", "/c.toml", []byte("[cache]\nmax_size = \"5GB\"\n[engine]\nmax_size = \"1GiB\"\n"))
	if err != nil || cfg.Cache.MaxBytes() != 5e9 || cfg.Engine.MaxBytes() != 1<<30 {
		t.Errorf("%+v, %v", cfg, err)
	}
	if none := (&Config{}); none.Cache.MaxBytes() != 0 || none.Engine.MaxBytes() != 0 {
		t.Error("a default that is none")
	}
	_, err = parse("c.toml", "/c.toml", []byte("[cache]\nmax_size = \"much\"\n[engine]\nmax_size = \"1kB\"\n"))
	for _, want := range []string{`c.toml:2:12: cache.max_size: "much" is not a size`, "write a number with a unit", `engine.max_size: "1kB" is not enough`} {
		if !strings.Contains(message(err), want) {
			t.Errorf("%q has no %q", message(err), want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"10GB", "1.5 gib", "9e9", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseSize(text); err == nil && n < 0 {
			t.Errorf("%q: %d", text, n)
		}
	})
}

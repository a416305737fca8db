package soak

import (
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		long, runs, seed string
		want             Plan
		err              string
	}{
		{"", "", "7", Plan{false, 3, 7}, ""},
		{"1", "", "7", Plan{true, 300, 7}, ""},
		{"", "20", "7", Plan{true, 20, 7}, ""},
		{"1", "20", "18446744073709551615", Plan{true, 20, 1<<64 - 1}, ""},
		{"", "0", "", Plan{}, "IBUILD_SOAK_RUNS=0 is no number of rounds"},
		{"", "many", "", Plan{}, "IBUILD_SOAK_RUNS=many is no number"},
		{"", "", "-1", Plan{}, "IBUILD_SOAK_SEED=-1 is no seed"},
	} {
		t.Setenv(longEnv, c.long)
		t.Setenv(runsEnv, c.runs)
		t.Setenv(seedEnv, c.seed)
		got, err := New(3, 300)
		if c.err == "" && (err != nil || got != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
}

func TestPlanSaysHowToRepeatIt(t *testing.T) {
	for want, p := range map[string]Plan{
		"3 rounds; again with IBUILD_SOAK_SEED=7":                        {false, 3, 7},
		"300 rounds; again with IBUILD_SOAK_RUNS=300 IBUILD_SOAK_SEED=7": {true, 300, 7},
	} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSeedsRepeat(t *testing.T) {
	t.Setenv(seedEnv, "")
	a, err := New(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := a
	b.Seed++
	x, y, z := a.Rand().Uint64(), a.Rand().Uint64(), b.Rand().Uint64()
	if x != y || x == z {
		t.Errorf("%d, %d, another seed %d", x, y, z)
	}
}

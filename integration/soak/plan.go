package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

// Variables of the environment that choose a plan.
const (
	longEnv = "IBUILD_SOAK"      // anything: the long form
	runsEnv = "IBUILD_SOAK_RUNS" // how many rounds, and the long form
	seedEnv = "IBUILD_SOAK_SEED" // that of an earlier run, which takes the same moments
)

// Plan is how one test of faults runs.
type Plan struct {
	Long bool
	Runs int // rounds, at least one
	Seed uint64
}

// New returns the plan that the environment asks for. short and long are the numbers of rounds where it names none.
func New(short, long int) (Plan, error) {
	p := Plan{Runs: short, Seed: uint64(time.Now().UnixNano())}
	if os.Getenv(longEnv) != "" || os.Getenv(runsEnv) != "" {
		p.Long, p.Runs = true, long
	}
	var err error
	if text := os.Getenv(runsEnv); text != "" {
		if p.Runs, err = strconv.Atoi(text); err != nil || p.Runs < 1 {
			return p, fmt.Errorf("%s=%s is no number of rounds", runsEnv, text)
		}
	}
	if text := os.Getenv(seedEnv); text != "" {
		if p.Seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return p, fmt.Errorf("%s=%s is no seed", seedEnv, text)
		}
	}
	return p, nil
}

// Rand returns the source of a test's random moments: the same ones for the same seed.
func (p Plan) Rand() *rand.Rand { return rand.New(rand.NewPCG(p.Seed, 0)) }

// String says what runs, and how to run it again.
func (p Plan) String() string {
	again := fmt.Sprintf("%s=%d", seedEnv, p.Seed)
	if p.Long {
		again = fmt.Sprintf("%s=%d %s", runsEnv, p.Runs, again)
	}
	return fmt.Sprintf("%d rounds; again with %s", p.Runs, again)
}

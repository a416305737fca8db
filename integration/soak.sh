#!/usr/bin/env bash
# The long forms of the tests of faults; `make test` has short ones. They kill ibuild and the processes of its cache at
# random moments, fill disks, and change files while they are read; and they push and pull through registries in random
# moods. IBUILD_SOAK_RUNS is the number of kills (300) and pushes (500), IBUILD_SOAK_SEED that of an earlier run, which is
# printed: it takes the same moments. Says what it does, goes on after a failure, and ends with a list of what failed. All
# that the tests said is in out/soak.log.
set -uo pipefail
cd "$(dirname "$0")/.."
export IBUILD_SOAK=1
failed=()
mkdir -p out && : >out/soak.log

# part runs some tests: title, build tags, times, regular expression, packages.
part() {
  local begin=$SECONDS title=$1
  echo "soak: $title"
  if ! go test -tags "$2" -p 1 -count "$3" -timeout 3h -v -run "$4" "${@:5}" 2>&1 | tee -a out/soak.log |
    grep --line-buffered -E '^(--- FAIL|ok|FAIL|panic:)|^ +[a-z_]+_test\.go:'; then
    failed+=("$title")
  fi
  echo "soak: $title: $((SECONDS - begin)) s"
}

part "processes of the cache are killed, share it, and meet full disks and read-only homes" integration 1 \
  '^(TestKilled|TestEightProcesses|TestSeveralProcesses|TestSmallDisk|TestReadOnlyHome|TestClockJumps|TestFullDisk.*|TestLimit.*|TestInterruptedWrite)$' ./cache
part "eight processes share a cache, again and again" '' 20 '^(TestEightProcesses|TestSeveralProcesses)$' ./cache
part "files change while they are hashed, sent or packed; clocks jump" '' 10 \
  '^(TestFilesThatChange.*|TestAssembledFilesAreThoseIdentified|TestClockThatJumps|TestEditsBetweenProcesses|TestRacyFiles.*|TestProcessesShareFileMemory)$' ./llb ./engine
part "the engine is cancelled, closed and killed in the middle of a step" integration 5 '^TestEngine(Killed|Cancel.*|Close.*|ChildDies)$' ./engine/embed
part "ibuild is killed while it hashes, builds, puts images together and prunes; disks are full" integration 1 '^(TestKilled|TestFull.*|TestEightProcesses)$' ./integration/e2e
part "images go through registries in random moods" integration 1 . ./integration/moods

if [ ${#failed[@]} -gt 0 ]; then
  printf 'soak: FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "soak: no failure, $SECONDS s in all"

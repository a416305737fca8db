#!/usr/bin/env bash
# Runs every fuzz target for a time each: fuzz.sh 10m. It goes on after a failure, and ends with a list of those that
# failed. Each package's test program is built once. A worker gets 4 GiB of memory, and Go's fuzzer ends one that hangs.
set -uo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: fuzz.sh TIME}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
corpus=$(go env GOCACHE)/fuzz # where go test -fuzz keeps the inputs that it finds
failed=()
count=0

# fuzz runs one target. What it found is in the package's testdata/fuzz then, and in the log.
fuzz() {
  (cd "$1" && ulimit -v $((4 << 20)) && "$work/fuzz.test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$time" \
    -test.fuzzminimizetime 20x -test.fuzzcachedir "$corpus/$3" -test.parallel "$(nproc)") >"$log" 2>&1
}

# late says that the time was over while the fuzzer waited for its worker, which it takes for a failure.
late() { grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; }

targets=$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -rn1 dirname | sort -u)
for dir in $targets; do
  begin=$SECONDS
  if ! go test -c -fuzz=Fuzz -o "$work/fuzz.test" "$dir"; then
    failed+=("$dir: does not compile")
    continue
  fi
  built=$((SECONDS - begin))
  if [ $built -gt 0 ]; then echo "fuzz ${dir#./}: built in $built s"; fi
  import=$(go list "$dir")
  for target in $(cd "$dir" && "$work/fuzz.test" -test.list '^Fuzz'); do
    count=$((count + 1))
    fuzz "$dir" "$target" "$import" || { late && fuzz "$dir" "$target" "$import"; }
    if [ $? = 0 ]; then
      echo "fuzz ${dir#./} $target: $(grep -o 'execs: .*' "$log" | tail -1)"
    else
      failed+=("$dir $target")
      echo "fuzz ${dir#./} $target: FAILED"
      cat "$log"
    fi
  done
done
if [ $count = 0 ]; then failed+=("no fuzz target was found"); fi
if [ ${#failed[@]} -gt 0 ]; then
  printf 'fuzz: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "fuzz: $count targets, $time each, no failure, $SECONDS s in all"

#!/usr/bin/env bash
# Runs every fuzz target for a time each: fuzz.sh 10m. It goes on after a failure, and ends with a list of the targets
# that failed. With "seeds" after the time it begins with the seeds alone, and not with all that earlier runs have
# found, so that a few seconds are enough. Each package's test program is built once. A worker may use 4 GiB of
# memory; Go's fuzzer ends one that hangs.
set -uo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: fuzz.sh TIME [seeds]}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
corpus=$(go env GOCACHE)/fuzz # where go test -fuzz has it
if [ "${2:-}" = seeds ]; then corpus=$work/corpus; fi
failed=()
count=0

# fuzz runs one target. An input that fails is in the package's testdata/fuzz afterwards.
fuzz() { # folder, import path, target
  (cd "$1" && ulimit -v $((4 << 20)) && exec "$work/fuzz.test" -test.run '^$' -test.fuzz "^$3\$" -test.fuzztime "$time" \
    -test.fuzzminimizetime 20x -test.fuzzcachedir "$corpus/$2" -test.parallel "$(nproc)") >"$log" 2>&1
}

# late says that the time was over while the fuzzer waited for a worker, which it takes for a failure.
late() { grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; }

while read -r dir; do
  name=${dir#./} begin=$SECONDS
  if ! go test -c -fuzz=Fuzz -o "$work/fuzz.test" "$dir"; then
    failed+=("$name: does not compile")
    continue
  fi
  echo "fuzz $name: built in $((SECONDS - begin)) s"
  import=$(go list "$dir")
  for target in $(cd "$dir" && "$work/fuzz.test" -test.list '^Fuzz'); do
    count=$((count + 1))
    if fuzz "$dir" "$import" "$target" || { late && fuzz "$dir" "$import" "$target"; }; then
      echo "fuzz $name $target: $(sed -n 's/^fuzz: elapsed: //p' "$log" | tail -1)"
    else
      failed+=("$name $target")
      echo "fuzz $name $target: FAILED"
      cat "$log"
    fi
  done
done < <(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -rn1 dirname | sort -u)

if [ $count = 0 ]; then failed+=("no target was found"); fi
if [ ${#failed[@]} -gt 0 ]; then
  printf 'fuzz: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "fuzz: $count targets, $time each, no failure, $SECONDS s in all"

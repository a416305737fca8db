#!/usr/bin/env bash
# Runs every fuzz target for a time each: fuzz.sh 10m. It goes on after a failure, and ends with a list of the targets
# that failed. With "seeds" after the time it begins with the seeds alone, and not with all that earlier runs have
# found, so that a few seconds are enough. Each package's test program is built once, and as many targets run at a time
# as there are processors, each with one worker: most of a short run is a program's start, which keeps one busy. A
# worker may use 4 GiB of memory; Go's fuzzer ends one that hangs.
set -uo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: fuzz.sh TIME [seeds]}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
corpus=$(go env GOCACHE)/fuzz # where go test -fuzz has it
if [ "${2:-}" = seeds ]; then corpus=$work/corpus; fi
export time work corpus
touch "$work/failed" "$work/passed"

# targets builds the programs and writes a line for each target: folder, import path, program, target.
targets() {
  local dir name begin import program target count=0
  while read -r dir; do
    count=$((count + 1)) name=${dir#./} program=$work/$count.test begin=$SECONDS
    if ! go test -c -fuzz=Fuzz -o "$program" "$dir" >&2; then
      echo "$name: does not compile" >>"$work/failed"
      continue
    fi
    echo "fuzz $name: built in $((SECONDS - begin)) s" >&2
    import=$(go list "$dir")
    for target in $(cd "$dir" && "$program" -test.list '^Fuzz'); do
      echo "$dir $import $program $target"
    done
  done < <(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -rn1 dirname | sort -u)
}

# fuzz runs one target. An input that fails is in the package's testdata/fuzz afterwards.
fuzz() { # folder, import path, program, target
  (cd "$1" && ulimit -v $((4 << 20)) && exec "$3" -test.run '^$' -test.fuzz "^$4\$" -test.fuzztime "$time" \
    -test.fuzzminimizetime 20x -test.fuzzcachedir "$corpus/$2" -test.parallel 1) >"$3.$4" 2>&1
}

# late says that the time was over while the fuzzer waited for a worker, which it takes for a failure.
late() { grep -q 'context deadline exceeded' "$1" && ! grep -q 'Failing input' "$1"; }

# idle says that the time was over before more than the seeds was run, as on a busy machine: nothing was fuzzed.
idle() {
  local execs new total
  read -r execs new total < <(sed -nE 's/.*execs: ([0-9]+) .*interesting: ([0-9]+) \(total: ([0-9]+)\).*/\1 \2 \3/p' "$1" | tail -1)
  [ "${execs:-0}" -le $((${total:-0} - ${new:-0})) ]
}

# try runs one target, says how that ended and notes it.
try() { # as fuzz
  local name="${1#./} $4" log=$3.$4
  if { fuzz "$@" || { late "$log" && fuzz "$@"; }; } && { ! idle "$log" || { time=20s fuzz "$@" && ! idle "$log"; }; }; then
    echo "fuzz $name: $(sed -n 's/^fuzz: elapsed: //p' "$log" | tail -1)"
    echo "$name" >>"$work/passed"
  else
    echo "fuzz $name: FAILED"$'\n'"$(cat "$log")"
    echo "$name" >>"$work/failed"
  fi
}

export -f try fuzz late idle
targets | xargs -r -P "$(nproc)" -L 1 bash -c 'try "$@"' try

count=$(cat "$work/passed" "$work/failed" | wc -l)
if [ "$count" = 0 ]; then echo "no target was found" >>"$work/failed"; fi
if [ -s "$work/failed" ]; then
  sed 's/^/fuzz: failed: /' "$work/failed" >&2
  exit 1
fi
echo "fuzz: $count targets, $time each, no failure, $SECONDS s in all"

#!/usr/bin/env bash
# Installs the peer that no Go module has: buildah, on Debian or Ubuntu. The benchmarks alone need it, so
# integration/deps.sh leaves it out.
set -euo pipefail

if command -v buildah >/dev/null; then
  echo "bench: buildah is there"
  exit
fi
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
echo "bench: installing buildah"
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah

#!/usr/bin/env bash
# Runs a command as root, with sudo where that is needed, and gives the caches that it wrote to back to the
# user: builders, users and mounts of the tests need root, the caches of Go and Rust are the user's.
set -uo pipefail
PATH=${HOME:-/root}/.cargo/bin:$PATH # where deps.sh has installed Rust
if [ "$(id -u)" = 0 ]; then exec "$@"; fi
keep=HOME,XDG_CACHE_HOME,GOCACHE,GOMODCACHE,GOFLAGS,GOPROXY,GOTOOLCHAIN,CGO_ENABLED,CI
keep+=,http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY,SSL_CERT_FILE
keep+=,IBUILD_SOAK_RUNS,IBUILD_SOAK_SEED,CARGO_HOME,RUSTUP_HOME,PIP_INDEX_URL,PIP_EXTRA_INDEX_URL,PIP_CERT,UV_INDEX_URL,UV_DEFAULT_INDEX
echo "as root: $*"
sudo --preserve-env="$keep" env PATH="$PATH" "$@"
code=$?
for dir in "$(go env GOCACHE)" "$(go env GOMODCACHE)" "${XDG_CACHE_HOME:-$HOME/.cache}/ibuild-test" "${CARGO_HOME:-$HOME/.cargo}" "${RUSTUP_HOME:-$HOME/.rustup}"; do
  if [ -d "$dir" ]; then sudo chown -R "$(id -u):$(id -g)" "$dir"; fi
done
exit $code

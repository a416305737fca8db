#!/usr/bin/env bash
# Installs the OS packages that the integration tests need on Debian or Ubuntu
# and lets the kernel run programs of the other architecture. With the argument
# pixi, also what pixi is compiled with, if it has to be. Says what it does and
# does nothing that has been done.
set -euo pipefail

packages=(
  uidmap                 # newuidmap: subordinate ids for rootless builds
  busybox-static         # the smallest root file system
  runc                   # runs build steps, and images in tests
  fuse-overlayfs         # file systems of rootless builds on old kernels
  qemu-user-static       # programs of the other architecture
  binfmt-support         # tells the kernel about qemu
  mmdebstrap arch-test   # make the base images
  debian-archive-keyring # Debian's signatures, also on Ubuntu
  iproute2
  ca-certificates
  containernetworking-plugins # the networks of pods
)

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
  local missing
  command -v pip3 pip >/dev/null || packages+=(python3-pip) # fetches uv
  command -v containerd >/dev/null || packages+=(containerd) # runs pods; Docker's own package, which has it too, would have to go for it
  missing=$(comm -23 \
    <(printf '%s\n' "${packages[@]}" | sort) \
    <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null | sed -n 's/^installed //p' | sort -u))
  if [ -z "$missing" ]; then
    echo "deps: all packages are there"
    return
  fi
  echo "deps: installing" $missing
  as_root apt-get update -qq
  # shellcheck disable=SC2086 # one word per package
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}

# F in the flags makes the kernel keep the emulator open, so that it is found
# in every root file system and namespace.
register_emulator() {
  local binfmt=/proc/sys/fs/binfmt_misc other
  case $(uname -m) in
    aarch64) other=qemu-x86_64 ;;
    *) other=qemu-aarch64 ;;
  esac
  if [ ! -e $binfmt/register ]; then
    echo "deps: mounting binfmt_misc"
    as_root mount -t binfmt_misc binfmt_misc $binfmt
  fi
  if ! grep -qs '^flags:.*F' $binfmt/$other; then
    echo "deps: registering $other"
    if [ -e $binfmt/$other ]; then as_root update-binfmts --disable $other; fi
    as_root update-binfmts --enable $other
  fi
  grep -q '^flags:.*F' $binfmt/$other || {
    echo "deps: $other is registered without the F flag; see update-binfmts --display $other" >&2
    exit 1
  }
  echo "deps: $other runs"
}

# Ubuntu lets only profiled programs make user namespaces. That is a setting of
# the machine's owner, so this says how to change it and leaves it alone.
check_namespaces() {
  local restricted=/proc/sys/kernel/apparmor_restrict_unprivileged_userns
  if [ "$(cat $restricted 2>/dev/null)" = 1 ]; then
    echo "deps: rootless builds will fail until you run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" >&2
  fi
}

# Whether there is a cargo that can build pixi and its targets can be had.
has_rust() {
  local version
  version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || return
  [ "$(printf '%s\n' 1.82 "$version" | sort -V | head -n 1)" = 1.82 ] && command -v rustup >/dev/null
}

# Rust is for the user who runs the tests, in his home folder, and needed only
# until pixi is in the cache.
install_rust() {
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/ibuild-test/bases temp url
  export PATH=$HOME/.cargo/bin:$PATH
  if compgen -G "$cache/pixi-????????????????" >/dev/null || has_rust; then
    echo "deps: no Rust has to be installed"
    return
  fi
  if command -v rustup >/dev/null; then
    echo "deps: installing the stable Rust"
    rustup toolchain install stable --profile minimal --no-self-update
    rustup default stable
  else
    url=https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu/rustup-init
    echo "deps: installing Rust with $url"
    temp=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$temp'" EXIT
    curl --proto '=https' --tlsv1.2 -fsS --retry 3 --remote-name --output-dir "$temp" "$url"
    curl --proto '=https' --tlsv1.2 -fsS --retry 3 "$url.sha256" | cut -d ' ' -f 1 | sed 's/$/  rustup-init/' >"$temp/sum"
    (cd "$temp" && sha256sum --quiet -c sum && chmod +x rustup-init)
    RUSTUP_INIT_SKIP_PATH_CHECK=yes "$temp/rustup-init" -y --quiet --no-modify-path --profile minimal
  fi
  has_rust || {
    echo "deps: pixi needs cargo 1.82 or newer and rustup, and $(cargo --version) is what is found" >&2
    exit 1
  }
}

case ${1:-} in
  '' | pixi) ;;
  *)
    echo "usage: deps.sh [pixi]" >&2
    exit 2
    ;;
esac
if [ "${1:-}" = pixi ]; then packages+=(curl); fi
install_packages
register_emulator
check_namespaces
if [ "${1:-}" = pixi ]; then install_rust; fi

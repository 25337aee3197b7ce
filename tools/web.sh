#!/usr/bin/env bash
# Builds Foveal's browser package, shows its page, or tests both, and installs what that needs.
#
#   tools/web.sh [build]       target/web/package, which `npm pack` takes, and target/web/site, the page beside it
#   tools/web.sh serve [...]   builds, then serves the site on 127.0.0.1 (--port N, default 8017)
#   tools/web.sh test          builds, then runs tests/browser in headless Chromium, on the CPU
#   tools/web.sh lint          runs clippy for browsers
#   FOVEAL_INSTALL=0 ...       installs nothing
#
# With rustup, `rustup target add wasm32-unknown-unknown` is all that building needs. Without, on Debian and Ubuntu, as root or
# with sudo, this installs Debian's compiler with the standard library's source. Tests need chromium, node and npm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command=${1:-build}
[ $# -gt 0 ] && shift
target=wasm32-unknown-unknown

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; }

# install PACKAGE...: those that are missing.
install() {
  local package wanted=()
  [ "${FOVEAL_INSTALL:-1}" = 0 ] && return
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || return 0
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || wanted+=("$package")
  done
  [ "${#wanted[@]}" -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
    echo "no root rights to install ${wanted[*]}" >&2
    return
  fi
  echo "installing ${wanted[*]}"
  as_root apt-get update -qq || echo 'the package lists could not be renewed' >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
}

# The tool that builds and serves; it says what is missing.
tool() { cargo run --quiet --package foveal-web-tool -- "$@"; }

# A compiler, and clippy with it if asked to, where they can be installed.
compiler() { has_target || install rustc-web cargo-web rust-web-src lld-22 "$@"; }

can_build() {
  has_target && return
  [ -x /usr/bin/rustc ] && [ -f "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]
}

# What cannot be tested is said, not failed; whoever builds hears from the tool what is missing.
or_skip() {
  can_build && return
  echo "SKIPPED: no compiler for $target: rustup target add $target, or Debian's rustc-web"
  exit 0
}

build() {
  compiler
  tool build
}

case $command in
  build) build "$@" ;;
  serve)
    build
    tool serve "$@"
    ;;
  lint)
    compiler rust-web-clippy
    or_skip
    tool lint
    ;;
  test)
    compiler
    or_skip
    build
    install chromium
    [ -d tests/browser/node_modules ] || npm --prefix tests/browser ci --no-audit --no-fund
    cd tests/browser
    exec npm test -- "$@"
    ;;
  *)
    sed -n '2,8s/^# \{0,1\}//p' tools/web.sh >&2
    exit 2
    ;;
esac

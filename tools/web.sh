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
# with sudo, this installs Debian's compiler with the standard library's source and a linker. Tests need chromium, npm and
# node 20 or newer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command=${1:-build}
[ $# -gt 0 ] && shift
target=wasm32-unknown-unknown

. tools/common.sh

# The tool that builds and serves. It is built first, which takes minutes once, with cargo's progress.
tool() {
  cargo build --package foveal-web-tool
  "${CARGO_TARGET_DIR:-target}/debug/foveal-web-tool" "$@"
}

# A compiler and a linker, and clippy with them if asked to, where they can be installed. rust-web-llvm, which rustc-web recommends,
# brings a link to the linker, lld-22 the linker itself: it is called by its own name.
compiler() {
  has_target "$target" || install rustc-web cargo-web rust-web-src lld-22 "$@" || {
    echo "with rustup, all that building needs is: rustup target add $target" >&2
    return 1
  }
}

# Where nothing may be installed, what is missing is a skipped test, and said; anywhere else it is a failed one.
or_skip() {
  local missing
  can_install && return
  missing=$(tool ready 2>&1) && return
  echo "SKIPPED: ${missing##*Error: }"
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

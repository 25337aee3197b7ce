#!/usr/bin/env bash
# Type-checks the library and the command for other systems. No SDK is needed; nothing is linked or run.
#
#   tools/cross-check.sh [TARGET]...   by default Windows, macOS, iOS and Android: five minutes of a core for the first, less after
#   FOVEAL_INSTALL=0 ...               installs nothing
#
# rustup's targets are used if they are there (`rustup target add TARGET`), else Debian's rustc-web, which builds the standard library.
# A C compiler assembles one dependency: MinGW's for Windows, clang for the others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/common.sh

targets=("$@")
[ $# -gt 0 ] || targets=(x86_64-pc-windows-gnu aarch64-apple-darwin aarch64-apple-ios aarch64-linux-android)
# Another compiler's files stay apart.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/cross

for target in "${targets[@]}"; do
  has_target "$target" || install rustc-web cargo-web rust-web-src
  can_cross "$target" || {
    echo "SKIPPED: $target: no standard library (rustup target add $target)"
    continue
  }
  case $target in
    *-windows-gnu) compiler=x86_64-w64-mingw32-gcc package=gcc-mingw-w64-x86-64 ;;
    *) compiler=clang package=clang ;;
  esac
  command -v "$compiler" >/dev/null || install "$package"
  command -v "$compiler" >/dev/null || {
    echo "SKIPPED: $target: $compiler was not found"
    continue
  }
  [ "$compiler" = clang ] && export "CC_${target//-/_}=clang" "AR_${target//-/_}=ar"
  echo "checking for $target"
  cross "$target" check -p foveal -p foveal-cli
done

#!/usr/bin/env bash
# Brings shader compilers of other platforms to target/shader-compilers, where the tests look for them.
#
#   tools/shader-compilers.sh          Microsoft's DXC for Linux, from a Python package: 15 MB
#   tools/shader-compilers.sh all      DXC for Windows and FXC too, which run in Wine: 22 MB more, and Wine itself
#   FOVEAL_INSTALL=0 ...               installs and downloads nothing
#
# All that comes from PyPI is checked against the hashes here, and is not part of Foveal. Needs python3 with pip, and g++.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/common.sh

folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/shader-compilers
skip() {
  echo "SKIPPED: $1: $2"
  exit 0
}

[ "$(uname -sm)" = 'Linux x86_64' ] || skip "Microsoft's DXC" 'the package is for Linux on x86-64'
for tool in python3 g++; do
  command -v "$tool" >/dev/null || skip "Microsoft's DXC" "$tool was not found"
done
python3 -m pip --version >/dev/null 2>&1 || skip "Microsoft's DXC" 'python3 has no pip'

# bring NAME PACKAGE HASH PIP-ARGUMENT...: unpacks it to a folder of that name.
bring() {
  [ -f "$folder/$1/.complete" ] && return
  [ "${FOVEAL_INSTALL:-1}" != 0 ] || skip "$1" 'FOVEAL_INSTALL=0'
  fetch "$folder/$1" "$3" "$2" "${@:4}" || skip "$1" "$2 cannot be downloaded"
}

# A program that runs a compiler in Wine with a Windows of its own.
in_wine() {
  cat >"$folder/$1" <<END
#!/bin/sh
export WINEPREFIX='$folder/wine' WINEDEBUG=-all WINEDLLOVERRIDES='d3dcompiler_47=n;winemenubuilder.exe=;mscoree='
exec wine '$folder/hlsl.exe' $2 'Z:$folder/$3' "\$@"
END
  chmod +x "$folder/$1"
}

# newer FILE THAN...: whether it exists and none of the others is younger.
newer() {
  local file=$1 other
  shift
  for other in "$@"; do [ "$file" -nt "$other" ] || return 1; done
}

bring compushady compushady-lrtu==0.18.0 b76371972f2543a1e83034a86c83cfad678dabf66be0b50b7d78edbcb1c98243 \
  --platform manylinux_2_28_x86_64
headers=$folder/compushady/compushady/backends
driver=tests/compilers/hlsl.cpp
newer "$folder/hlsl" "$driver" || g++ -std=c++17 -O1 -w -I "$headers" "$driver" -o "$folder/hlsl" -ldl
cat >"$folder/dxc" <<END
#!/bin/sh
exec '$folder/hlsl' dxc '$headers/libdxcompiler_x86_64.so' "\$@"
END
chmod +x "$folder/dxc"
[ "${1:-}" = all ] || exit 0

install wine wine64 g++-mingw-w64-x86-64
for tool in wine x86_64-w64-mingw32-g++; do
  command -v "$tool" >/dev/null || skip 'DXC for Windows, FXC' "$tool was not found"
done
bring dxc-for-windows onnxruntime-ep-webgpu==0.4.0 7db646669d1a2390551da675115ea125e68cb3d4d2c3a2d6e463372bf8d6ea87 \
  --platform win_amd64
bring fxc-for-windows kivy-deps.angle==0.5.0 d16d68cc45a2a326a3f8f738c649bb00ae5d7c3e58cff70f415fa57bd1d28713 \
  --platform win_amd64
newer "$folder/hlsl.exe" "$driver" ||
  x86_64-w64-mingw32-g++ -std=c++17 -O1 -w -static -I "$headers" "$driver" -o "$folder/hlsl.exe"
in_wine dxc-windows dxc dxc-for-windows/onnxruntime_ep_webgpu/dxcompiler.dll
in_wine fxc fxc fxc-for-windows/kivy_deps_angle-0.5.0.data/data/share/angle/bin/d3dcompiler_47.dll
# The first program to run makes the Windows; several at once would be in each other's way.
WINEPREFIX=$folder/wine WINEDEBUG=-all WINEDLLOVERRIDES='winemenubuilder.exe=;mscoree=' wine wineboot -i >/dev/null 2>&1 || true

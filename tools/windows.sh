#!/usr/bin/env bash
# Builds the command for Windows and tries it in Wine: the same answers as on Linux, and right results on Vulkan and GL.
#
#   tools/windows.sh               13 minutes of a core the first time
#   FOVEAL_INSTALL=0 ...           installs nothing
#
# Wine runs Vulkan and GL on the drivers of Linux: Mesa's software drivers do. Wine 8 has a Direct3D 12 that computes garbage; there,
# being refused by the self-check is what is expected. Needs the command for Linux too, which `cargo build` makes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/common.sh

target=x86_64-pc-windows-gnu
builds=$(realpath -m "${CARGO_TARGET_DIR:-target}")
skip() {
  echo "SKIPPED: Windows: $1"
  exit 0
}

has_target "$target" || install rustc-web cargo-web rust-web-src
can_cross "$target" || skip "no standard library (rustup target add $target)"
install gcc-mingw-w64-x86-64 wine wine64 xvfb mesa-vulkan-drivers
for tool in x86_64-w64-mingw32-gcc wine Xvfb; do
  command -v "$tool" >/dev/null || skip "$tool was not found"
done

CARGO_TARGET_DIR=$builds cargo build -p foveal-cli
linux=$builds/debug/foveal
# Another compiler's files stay apart. Line tables would be most of the file.
CARGO_TARGET_DIR=$builds/cross CARGO_PROFILE_DEV_DEBUG=0 cross "$target" build -p foveal-cli
folder=$builds/windows
mkdir -p "$folder"
cp "$builds/cross/$target/debug/foveal.exe" "$folder/"

# Wine 8 lacks the system's source of random numbers that Rust's standard library asks; a newer Wine's own is taken if there is one.
if ! find /usr/lib /opt -path '*wine*' -name 'bcryptprimitives.dll' 2>/dev/null | grep -q .; then
  cat >"$folder/random.c" <<'END'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count) { return SystemFunction036(bytes, (ULONG)count); }
END
  x86_64-w64-mingw32-gcc -shared -O1 "$folder/random.c" -o "$folder/bcryptprimitives.dll" -ladvapi32
fi

scratch=$(mktemp -d)
display=$scratch/display
trap 'kill "${screen:-}" 2>/dev/null || true; rm -rf "$scratch"' EXIT
# Without a screen Wine offers neither Vulkan nor GL.
Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp 3>"$display" 2>"$scratch/screen.log" &
screen=$!
for _ in $(seq 50); do
  [ -s "$display" ] && break
  sleep 0.2
done
[ -s "$display" ] || skip "Xvfb does not start: $(tail -1 "$scratch/screen.log")"
export DISPLAY=:$(cat "$display") XDG_RUNTIME_DIR=$scratch
export WINEPREFIX=$folder/wine WINEDEBUG=-all WINEDLLOVERRIDES='winemenubuilder.exe=;mscoree='
# Its caches are of this run.
export LOCALAPPDATA=$scratch XDG_CACHE_HOME=$scratch
export VK_DRIVER_FILES=${VK_DRIVER_FILES:-/usr/share/vulkan/icd.d/lvp_icd.x86_64.json}
export VK_ICD_FILENAMES=$VK_DRIVER_FILES

failed=0
windows() { timeout 300 wine "$folder/foveal.exe" "$@" | tr -d '\r'; }
# try NAME COMMAND...
try() {
  local name=$1
  shift
  if "$@" >"$scratch/log" 2>&1; then
    printf 'ok      %s\n' "$name"
  else
    printf 'FAILED  %s\n' "$name"
    tail -5 "$scratch/log"
    failed=1
  fi
}
# same WORD...: both print the same.
same() { diff <("$linux" "$@") <(windows "$@"); }
# files WORD...: both write the same file, whose name comes last.
files() {
  "$linux" "$@" "$scratch/linux.file" && windows "$@" "$scratch/windows.file" && cmp "$scratch/linux.file" "$scratch/windows.file"
}
golden=tests/golden/A04_softmax_causal_t100.safetensors
on() { (export WGPU_BACKEND=$1 && shift && "$@"); }
refuses_or_is_right() { on dx12 windows run attention --input "$golden" --output "$scratch/dx12.safetensors" --check ||
  on dx12 windows run attention --input "$golden" --output "$scratch/dx12.safetensors" 2>&1 | grep -iE 'self-check|refused|no adapter|device'; }

try 'list prints the same' same list
try 'mask prints the same' same mask 'causal & (window(63, 0) | sinks(4))' --q 300
try 'a picture has the same bytes' files mask 'disc(16, 4)' --q 256 --png
try 'a result on the CPU has the same bytes' files run attention --device cpu --input "$golden" --output
try 'adapters are found' windows info
cat "$scratch/log"
try 'Vulkan: cases are right' on vulkan windows check attention --cases causal
tail -1 "$scratch/log"
try 'GL: a result is right' on gl windows run attention --input "$golden" --output "$scratch/gl.safetensors" --check
tail -1 "$scratch/log"
try 'DirectX 12: a result is right, or refused' refuses_or_is_right
tail -1 "$scratch/log"
wine --version
exit "$failed"

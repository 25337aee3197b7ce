#!/usr/bin/env bash
# Runs every test, and installs what the tests need.
#
#   tools/test.sh              everything
#   FOVEAL_INSTALL=0 ...       installs nothing; what is missing is skipped, and said
#
# On Debian and Ubuntu, as root or with sudo, it installs two Vulkan drivers that need no GPU (Mesa's lavapipe, and
# SwiftShader, which comes with Chromium) and SPIR-V's validator. Elsewhere it uses what it finds. A test that cannot run
# is SKIPPED, never passed; where a driver was found, its tests have to run.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

LAVAPIPE_ICD=/usr/share/vulkan/icd.d/lvp_icd.x86_64.json
PACKAGES=(mesa-vulkan-drivers libvulkan1 chromium spirv-tools)
# Random cases a driver. Each may compile three kernels, and compiling is what takes the time.
RANDOM_CASES=${FOVEAL_RANDOM_CASES:-100}

started=$SECONDS
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
chmod 700 "$scratch"
# Mesa's EGL warns without one.
export XDG_RUNTIME_DIR=$scratch
# A snapshot that differs is a failure, not a new snapshot.
export INSTA_UPDATE=no

ran=() failed=() notes=()

say() { printf '\n== %s\n' "$*"; }

# step NAME COMMAND...: runs it, remembers how it went and how long it took.
step() {
  local name=$1 begun=$SECONDS status=0 log
  shift
  log=$scratch/$((${#ran[@]} + 1)).log
  say "$name"
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  local took="$((SECONDS - begun)) s"
  local skips
  while IFS= read -r skips; do notes+=("$name: $skips"); done < <(grep '^SKIPPED: ' "$log" | sort -u)
  if [ "$status" -eq 0 ]; then
    ran+=("ok      $took  $name")
  else
    ran+=("FAILED  $took  $name")
    failed+=("$name")
  fi
  printf -- '-- %s: %s after %s\n' "$name" "$([ "$status" -eq 0 ] && echo ok || echo "FAILED ($status)")" "$took"
}

skip() {
  notes+=("$1: $2")
  printf 'SKIPPED: %s: %s\n' "$1" "$2"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing_packages() {
  local package
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

# Package by package: one that a distribution lacks must not keep the others from being installed.
install() {
  local package wanted
  if [ "${FOVEAL_INSTALL:-1}" = 0 ]; then
    skip 'installing' 'FOVEAL_INSTALL=0'
    return
  fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    skip 'installing' "not Debian or Ubuntu; wanted: lavapipe, SwiftShader, spirv-val. What is there is used"
    return
  fi
  wanted=$(missing_packages)
  [ -z "$wanted" ] && return
  if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
    skip 'installing' "no root rights for: $(echo $wanted)"
    return
  fi
  say "installing $(echo $wanted)"
  as_root apt-get update -qq || echo 'the package lists could not be renewed'
  for package in $wanted; do
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" \
      >"$scratch/apt.log" 2>&1 || { tail -3 "$scratch/apt.log"; skip "package $package" 'it could not be installed'; }
  done
}

swiftshader_icd() {
  local file
  file=$(dpkg -L chromium 2>/dev/null | grep -m1 'vk_swiftshader_icd\.json$')
  [ -n "$file" ] && [ -f "$file" ] && echo "$file"
}

# on_driver ICD NAME COMMAND...: with that Vulkan driver and no other; a GPU test that does not run fails.
on_driver() {
  local icd=$1 name=$2
  shift 2
  env VK_ICD_FILENAMES="$icd" VK_DRIVER_FILES="$icd" WGPU_BACKEND=vulkan FOVEAL_ADAPTER="$name" \
    FOVEAL_REQUIRE_GPU=1 "$@"
}

rustdoc() { RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace; }

# What needs no device, or says itself that it has none. Tier 2 has its own steps.
tests_without_device() {
  cargo test --workspace --exclude foveal-tests &&
    cargo test -p foveal-tests --lib --test tier0 --test tier1
}

check_golden() {
  local folder=$1
  shift
  if [ -d "$folder" ]; then "$@" cargo run -q -p foveal-cli -- check --golden "$folder"; else echo "no $folder"; fi
}

# The same tests on one driver.
device_tests() {
  local name=$1 icd=$2 adapter=$3
  if [ -z "$icd" ] || [ ! -f "$icd" ]; then
    skip "tier 2 on $name" 'the driver was not found'
    return
  fi
  step "tier 2 on $name" on_driver "$icd" "$adapter" cargo test -p foveal-tests --test tier2
  step "golden files on $name" check_golden tests/golden on_driver "$icd" "$adapter"
  if [ -d ../shared/golden ]; then
    step "larger golden set on $name" check_golden ../shared/golden on_driver "$icd" "$adapter"
  else
    skip "larger golden set on $name" 'there is no ../shared/golden beside the repository'
  fi
  step "$RANDOM_CASES random cases on $name" on_driver "$icd" "$adapter" \
    cargo run -q -p foveal-cli -- check --random "$RANDOM_CASES" --seed 1
}

install
step 'format' cargo fmt --all --check
step 'clippy' cargo clippy --workspace --all-targets -- -D warnings
step 'documentation' rustdoc
step 'tests without a device' tests_without_device
if swiftshader=$(swiftshader_icd); then :; else swiftshader=; fi
device_tests lavapipe "$LAVAPIPE_ICD" llvmpipe
device_tests SwiftShader "$swiftshader" SwiftShader

say "summary, $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s"
printf '%s\n' "${ran[@]}"
[ "${#notes[@]}" -gt 0 ] && printf 'SKIPPED %s\n' "${notes[@]}"
if [ "${#failed[@]}" -gt 0 ]; then
  printf 'FAILED  %s\n' "${failed[@]}"
  exit 1
fi
echo 'nothing failed'

#!/usr/bin/env bash
# Runs every test, and installs what the tests need.
#
#   tools/test.sh              everything
#   FOVEAL_INSTALL=0 ...       installs and fetches nothing; what is missing is skipped, and said
#   FOVEAL_ALL_DRIVERS=1 ...   all tests of devices on the newer lavapipe too, and kernels compiled for every GPU of the shims
#   FOVEAL_ALL_PLATFORMS=1 ... checks the sources for Windows, macOS, iOS and Android too, runs the Windows program in Wine, and
#                              compiles all kernels with other platforms' compilers, not a sample: half an hour more
#
# On Debian and Ubuntu, as root or with sudo, it installs two Vulkan drivers that need no GPU (Mesa's lavapipe, and
# SwiftShader, which comes with Chromium), SPIR-V's validator, Khronos' compiler of GLSL and, without rustup's, a compiler for
# browsers. On Debian tools/drivers.sh fetches a newer Mesa besides. Microsoft's compiler of HLSL comes as a wheel
# (tools/shader-compilers.sh). Elsewhere it uses what it finds. A test that cannot run is SKIPPED, never passed; where a driver
# was found, its tests have to run.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
. tools/common.sh

LAVAPIPE_ICD=/usr/share/vulkan/icd.d/lvp_icd.x86_64.json
PACKAGES=(mesa-vulkan-drivers libvulkan1 chromium spirv-tools glslang-tools)
# Random cases an operator and driver, the same every time. Each may compile ten kernels, and compiling takes the time: more of
# them, from other seeds, are for people to run.
RANDOM_CASES=${FOVEAL_RANDOM_CASES:-12}

started=$SECONDS
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
chmod 700 "$scratch"
# Mesa's EGL warns without one.
export XDG_RUNTIME_DIR=$scratch
# A snapshot that differs is a failure, not a new snapshot.
export INSTA_UPDATE=no

# How each step went, and what was skipped: files, as some steps run side by side.
ran=$scratch/ran failed=$scratch/failed notes=$scratch/notes
touch "$ran" "$failed" "$notes"

say() { printf '\n== %s\n' "$*"; }

# Sets `cores` to the seconds of all cores together that this shell's commands took so far. A subshell would see its own only.
count_cores() {
  local file=$scratch/times-$BASHPID
  times >"$file"
  cores=$(awk 'NR == 2 { gsub(/[ms]/, " "); printf "%d", 60 * $1 + $2 + 60 * $3 + $4 }' "$file")
}

# step NAME COMMAND...: runs it, remembers how it went, how long it took and how much of the cores.
step() {
  local name=$1 begun=$SECONDS cores busy status=0 log
  count_cores
  busy=$cores
  shift
  log=$(mktemp -p "$scratch")
  say "$name"
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  count_cores
  local took="$((SECONDS - begun)) s ($((cores - busy)) s of cores)"
  local skips
  while IFS= read -r skips; do echo "$name: ${skips#SKIPPED: }" >>"$notes"; done < <(grep '^SKIPPED: ' "$log" | sort -u)
  if [ "$status" -eq 0 ]; then
    echo "ok      $took  $name" >>"$ran"
  else
    echo "FAILED  $took  $name" >>"$ran"
    echo "$name" >>"$failed"
  fi
  printf -- '-- %s: %s after %s\n' "$name" "$([ "$status" -eq 0 ] && echo ok || echo "FAILED ($status)")" "$took"
}

skip() {
  echo "$1: $2" >>"$notes"
  printf 'SKIPPED: %s: %s\n' "$1" "$2"
}

missing_packages() {
  local package
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

# A distribution's node would come into the way of another that is there already.
command -v node >/dev/null || PACKAGES+=(nodejs)
command -v npm >/dev/null || PACKAGES+=(npm)

# Package by package: one that a distribution lacks must not keep the others from being installed.
install_wanted() {
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

# Chromium's packages share its files differently from release to release: whichever brings the driver.
swiftshader_icd() {
  local file
  file=$(dpkg -S vk_swiftshader_icd.json 2>/dev/null | sed -n '1s/^[^:]*: //p')
  [ -f "$file" ] && echo "$file"
}

# A newer Mesa beside the system's: its lavapipe, and its compilers for GPUs, which gpu-stats uses.
fetch_drivers() {
  export FOVEAL_DRIVERS=${CARGO_TARGET_DIR:-target}/drivers
  FOVEAL_DRIVERS=$(realpath -m "$FOVEAL_DRIVERS")
  [ -d "$FOVEAL_DRIVERS/testing" ] && return
  if [ "${FOVEAL_INSTALL:-1}" = 0 ]; then
    skip 'newer drivers' 'FOVEAL_INSTALL=0'
    return
  fi
  say 'fetching newer drivers'
  local status=0
  tools/drivers.sh 2>&1 | tee "$scratch/drivers.log"
  status=${PIPESTATUS[0]}
  while IFS= read -r skips; do echo "newer drivers: ${skips#SKIPPED: }" >>"$notes"; done < <(grep '^SKIPPED: ' "$scratch/drivers.log")
  [ "$status" -eq 0 ] || [ "$status" -eq 3 ] || echo 'newer drivers' >>"$failed"
}

rustdoc() { RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace; }

# One set of packages in every call: another set would mean other features of shared dependencies, and building them again.
all_tests() { cargo test --workspace --no-fail-fast; }
device_tier() { cargo test --workspace --no-fail-fast --test gpu --test host; }
# On the newer lavapipe, which the whole tier would take too long on: whatever needs matrix units, which only it has; forms of
# decode, appending, plans for other adapters. Stored results, by every variant, are checked beside.
NEWER_TESTS=(matri decode::every_form_is_right append::rows_without_a_place adversarial::plans_for_other_adapters)
newer_tier() {
  local filters=("${NEWER_TESTS[@]}")
  if [ "${FOVEAL_ALL_DRIVERS:-0}" = 1 ]; then filters=(); fi
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$FOVEAL_DRIVERS/run lavapipe" \
    cargo test --workspace --no-fail-fast --test gpu -- "${filters[@]}"
}
newer_golden() { "$FOVEAL_DRIVERS/run" lavapipe "${CARGO_TARGET_DIR:-target}/debug/foveal" check --golden tests/golden; }
examples() { cargo build --workspace --bins; }

# The command, as `cargo test` built it, and examples, which check their results themselves and leave pictures.
foveal() { "${CARGO_TARGET_DIR:-target}/debug/foveal" "$@"; }
example() { "${CARGO_TARGET_DIR:-target}/debug/foveal-$1" "${@:2}"; }

# examples_on NAME: all of them, on the driver that the environment names. Pictures stay in target/examples-NAME.
examples_on() {
  local name=$1 pictures="${CARGO_TARGET_DIR:-target}/pictures-$1"
  mkdir -p "$pictures"
  step "example embed on $name" in_folder "$pictures" embed
  step "example stream on $name" example stream --tokens 400 --output "$pictures/stream.png"
  step "example crowd on $name" example crowd --frames 24 --output "$pictures/crowd.png"
  step "example heatmap on $name" example heatmap --output "$pictures/heatmap.png"
  step "example of a Vulkan host on $name" example vulkan-host
}

# in_folder FOLDER NAME: an example that takes no arguments.
in_folder() {
  local binary
  binary=$(realpath "${CARGO_TARGET_DIR:-target}/debug/foveal-$2") && (cd "$1" && "$binary")
}

check_golden() { if [ -d "$1" ]; then foveal check --golden "$1"; else echo "no $1"; fi; }

# on_driver ICD ADAPTER COMMAND...: runs it there. Where the driver was found, tests have to run.
on_driver() (
  export VK_ICD_FILENAMES=$1 VK_DRIVER_FILES=$1 WGPU_BACKEND=vulkan FOVEAL_ADAPTER=$2 FOVEAL_REQUIRE_GPU=1
  "${@:3}"
)

# tests_on NAME ICD ADAPTER TESTS: a function with tests, on one driver.
tests_on() {
  if [ ! -f "$2" ]; then
    skip "tests on $1" 'the driver was not found'
    return 1
  fi
  on_driver "$2" "$3" step "tests on $1" "$4"
}

# checks_on NAME ICD ADAPTER: the command's own checks and the examples.
checks_on() { if [ -f "$2" ]; then on_driver "$2" "$3" checks "$1"; fi; }
checks() {
  local name=$1
  step "golden files on $name" check_golden tests/golden
  if [ -d ../shared/golden ]; then
    step "larger golden set on $name" check_golden ../shared/golden
  else
    skip "larger golden set on $name" 'there is no ../shared/golden beside the repository'
  fi
  step "$RANDOM_CASES random cases on $name" foveal check --random "$RANDOM_CASES" --seed 1
  examples_on "$name"
}

# checks_on_newer: the newer lavapipe by its runner.
checks_on_newer() {
  if [ ! -f "$FOVEAL_DRIVERS/testing/icd/lvp.json" ]; then
    skip 'tests on the newer lavapipe' 'the driver was not found'
    return
  fi
  on_driver "$FOVEAL_DRIVERS/testing/icd/lvp.json" llvmpipe step 'some tests on the newer lavapipe' newer_tier
  on_driver "$FOVEAL_DRIVERS/testing/icd/lvp.json" llvmpipe step 'golden files on the newer lavapipe' newer_golden
}

install_wanted
fetch_drivers
step 'format' cargo fmt --all --check
step 'clippy' cargo clippy --workspace --all-targets -- -D warnings
step 'documentation' rustdoc
step 'building the examples' examples
if [ "${FOVEAL_ALL_PLATFORMS:-}" = 1 ]; then
  step "other platforms' shader compilers" tools/shader-compilers.sh all
else
  step "other platforms' shader compilers" tools/shader-compilers.sh
fi
step 'building the tests' cargo test --workspace --no-run

# The report that tools/gpu-day.sh makes on a machine with a GPU, in short.
gpu_day() { FOVEAL_BIN="${CARGO_TARGET_DIR:-target}/debug" tools/gpu-day.sh --short --seconds 120 "${CARGO_TARGET_DIR:-target}/gpu-day"; }

# All tests run on the first driver; those that need a device again on the second, whose subgroups are half as wide, and some on a
# newer release of the first.
SWIFTSHADER_ICD=$(swiftshader_icd)
on_lavapipe_and_in_browser() {
  tests_on lavapipe "$LAVAPIPE_ICD" llvmpipe all_tests || [ -f "$LAVAPIPE_ICD" ] || step 'tests without a device' all_tests
  checks_on lavapipe "$LAVAPIPE_ICD" llvmpipe
  if [ -f "$LAVAPIPE_ICD" ]; then
    on_driver "$LAVAPIPE_ICD" llvmpipe step 'a short GPU day on lavapipe' gpu_day
  fi
  # The browser package and its page, in Chromium, which brings SwiftShader.
  if command -v node >/dev/null && command -v npm >/dev/null && command -v chromium >/dev/null; then
    step 'the browser package and its page' tools/web.sh test
    step 'clippy for browsers' tools/web.sh lint
  else
    skip 'the browser package and its page' 'node, npm or chromium was not found'
  fi
}
on_others() {
  tests_on SwiftShader "$SWIFTSHADER_ICD" SwiftShader device_tier
  checks_on SwiftShader "$SWIFTSHADER_ICD" SwiftShader
  checks_on_newer
}
# Much of both is compiling in a driver, which takes one core: side by side.
on_lavapipe_and_in_browser >"$scratch/lavapipe.out" 2>&1 &
on_others
wait
cat "$scratch/lavapipe.out"

# Other systems, without a machine that runs them.
if [ "${FOVEAL_ALL_PLATFORMS:-}" = 1 ]; then
  step 'sources for Windows, macOS, iOS and Android' tools/cross-check.sh
  step 'the Windows program in Wine' tools/windows.sh
else
  skip 'other systems' 'FOVEAL_ALL_PLATFORMS=1 checks and runs what can be without them'
fi

say "summary, $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s"
cat "$ran"
sed 's/^/SKIPPED /' "$notes"
if [ -s "$failed" ]; then
  sed 's/^/FAILED  /' "$failed"
  exit 1
fi
echo 'nothing failed'

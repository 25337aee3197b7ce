#!/usr/bin/env bash
# Fetches newer Vulkan drivers than the system's, and devices that compile but do not execute, into target/drivers.
#
#   tools/drivers.sh                     from Debian's testing release, unless they are there
#   tools/drivers.sh --renew             again, as releases move on
#   tools/drivers.sh --release stable    from another release, into a folder of its own
#   target/drivers/run lavapipe BINARY ARGS...
#   target/drivers/run radv:navi31 BINARY ARGS...         also nvk:172, turnip:750, honeykrisp
#   target/drivers/run stable/radv:navi31 BINARY ARGS...
#
# Works on Debian, without root rights, and takes nothing but packages: their signatures are checked, and nothing of the system
# changes. Packages come from the mirror that apt is configured for. All of a release's drivers become available together, or not at
# all. Exit codes: 0 they are there, 1 something failed, 3 they are not to be had here, and why.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

PACKAGES=(mesa-vulkan-drivers mesa-drm-shim libvulkan1)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

release=testing renew=
while [ $# -gt 0 ]; do
  case $1 in
    --renew) renew=1 ;;
    --release) shift && release=${1-} ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit 2 ;;
  esac
  shift
done
[[ $release =~ ^[a-z]+$ ]] || { echo "expected a release such as testing or stable, not '$release'" >&2 && exit 2; }

missing() {
  echo "SKIPPED: drivers of Debian's $release: $*"
  exit 3
}

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/drivers" || exit 1
drivers=$(realpath "$target/drivers")
into=$drivers/$release

# run_script: what starts a binary on a driver. It finds its folder by its own path.
run_script() {
  cat <<'END'
#!/bin/sh
# run [RELEASE/]DRIVER BINARY ARGS...: see tools/drivers.sh. A binary of this system runs with the release's loader and libraries,
# as its drivers need them. Devices but lavapipe compile for real and execute nothing.
[ $# -ge 2 ] || { echo "expected: $0 [RELEASE/]DRIVER BINARY ARGS..." >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd) || exit 1
driver=${1##*/} release=testing
case $1 in */*) release=${1%%/*} ;; esac
lib=$here/$release/root/usr/lib/x86_64-linux-gnu
[ -d "$lib" ] || { echo "$release is not here: tools/drivers.sh --release $release" >&2; exit 1; }
shift
icd=; shim=
case $driver in
  lavapipe) icd=lvp ;;
  radv:*) icd=radeon shim=amdgpu AMDGPU_GPU_ID=${driver#*:}; export AMDGPU_GPU_ID ;;
  nvk:*) icd=nouveau shim=nouveau NOUVEAU_CHIPSET=${driver#*:} NVK_I_WANT_A_BROKEN_VULKAN_DRIVER=1
    export NOUVEAU_CHIPSET NVK_I_WANT_A_BROKEN_VULKAN_DRIVER ;;
  turnip:*) icd=freedreno shim=freedreno FD_GPU_ID=${driver#*:}; export FD_GPU_ID ;;
  honeykrisp) icd=asahi shim=asahi ;;
  *) echo "no driver $driver: lavapipe, radv:NAME, nvk:CHIPSET, turnip:ID, honeykrisp" >&2; exit 2 ;;
esac
VK_DRIVER_FILES=$here/$release/icd/$icd.json
[ -f "$VK_DRIVER_FILES" ] || { echo "$release has no driver $icd" >&2; exit 1; }
VK_ICD_FILENAMES=$VK_DRIVER_FILES
export VK_DRIVER_FILES VK_ICD_FILENAMES
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" ${shim:+--preload "$lib/lib${shim}_noop_drm_shim.so"} "$@"
END
}

# manifests ROOT FOLDER FINAL: the drivers' manifests with absolute paths, as they will be once ROOT lies in FINAL.
manifests() {
  local file name library version
  mkdir "$2" || return 1
  for file in "$1"/usr/share/vulkan/icd.d/*_icd*.json; do
    name=$(basename "$file")
    name=${name%%_icd*}
    library=$(sed -n 's/.*"library_path": *"\([^"]*\)".*/\1/p' "$file")
    version=$(sed -n 's/.*"api_version": *"\([^"]*\)".*/\1/p' "$file")
    library=usr/lib/x86_64-linux-gnu/$(basename "$library")
    [ -f "$1/$library" ] || continue
    printf '{"ICD": {"api_version": "%s", "library_path": "%s"}, "file_format_version": "1.0.1"}\n' \
      "$version" "$3/$library" >"$2/$name.json"
  done
  [ -f "$2/lvp.json" ]
}

about() {
  local pair shims=$into/root/usr/lib/x86_64-linux-gnu
  cat "$into/about"
  for pair in radv:radeon:amdgpu nvk:nouveau:nouveau turnip:freedreno:freedreno honeykrisp:asahi:asahi; do
    IFS=: read -r name icd shim <<<"$pair"
    if [ -f "$into/icd/$icd.json" ] && [ -f "$shims/lib${shim}_noop_drm_shim.so" ]; then
      echo "compiles only: $name"
    else
      echo "SKIPPED: Debian's $release has no $name"
    fi
  done
}

run_script >"$drivers/run.new" && chmod +x "$drivers/run.new" && mv "$drivers/run.new" "$drivers/run" || exit 1
if [ -f "$into/about" ] && [ -z "$renew" ]; then
  about
  exit 0
fi

. /etc/os-release 2>/dev/null
[ "${ID-}" = debian ] || missing 'this system is not Debian'
[ "$(uname -m)" = x86_64 ] || missing 'this machine is not x86-64'
for tool in apt-get dpkg-deb gpgv; do command -v "$tool" >/dev/null || missing "there is no $tool"; done
[ -f "$KEYRING" ] || missing "there is no $KEYRING"
# The mirror of this system's own packages, however its sources are written.
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
  awk -v own="${VERSION_CODENAME-}" '$1 == own || $1 == "stable" || $1 == "testing" || $1 == "sid" { print $2; exit }')
[ -n "$mirror" ] || missing "apt has no source for ${VERSION_CODENAME:-this system}"

# Everything happens in a folder beside the final one, which is renamed at the end.
fresh=$(mktemp -d "$drivers/fetching-XXXXXX") || exit 1
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh"/apt/{lists/partial,archives/partial,parts} && : >"$fresh/apt/status" || exit 1
echo "deb [arch=amd64 signed-by=$KEYRING] $mirror $release main" >"$fresh/apt/sources.list"
# The system's own sources, lists, pins and installed packages are left alone: every package that is needed is taken.
APT=(apt-get -qq -o "Dir::State=$fresh/apt" -o "Dir::State::status=$fresh/apt/status" -o "Dir::Cache=$fresh/apt"
  -o "Dir::Etc::sourcelist=$fresh/apt/sources.list" -o "Dir::Etc::sourceparts=$fresh/apt/parts"
  -o Dir::Etc::preferences=/dev/null -o "Dir::Etc::preferencesparts=$fresh/apt/parts"
  -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o Acquire::Retries=2)
"${APT[@]}" update >"$fresh/log" 2>&1 || { tail -3 "$fresh/log"; missing 'the package lists could not be fetched'; }
"${APT[@]}" -y --no-install-recommends --download-only install "${PACKAGES[@]}" >"$fresh/log" 2>&1 ||
  { tail -3 "$fresh/log"; missing "${PACKAGES[*]} could not be fetched"; }
for package in "$fresh"/apt/archives/*.deb; do
  dpkg-deb -x "$package" "$fresh/root" || { echo "$package could not be unpacked" >&2; exit 1; }
done
manifests "$fresh/root" "$fresh/icd" "$into/root" || { echo 'the packages have no lavapipe' >&2; exit 1; }
for package in "${PACKAGES[@]}"; do
  dpkg-deb -f "$(ls "$fresh/apt/archives/${package}_"*.deb)" Package Version | sed 's/^[A-Z][a-z]*: //' | paste -sd ' '
done >"$fresh/about"
rm -rf "$fresh/apt" "$fresh/log"
# Documentation is a third of the files.
rm -rf "$fresh/root/usr/share/doc" "$fresh/root/usr/share/man"
rm -rf "$into" && mv "$fresh" "$into" || exit 1
chmod 755 "$into"
about

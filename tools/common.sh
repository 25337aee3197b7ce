# Sourced by other scripts: packages of Debian and Ubuntu, which FOVEAL_INSTALL=0 keeps from being installed; wheels; compilers for
# other systems.

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Whether packages may and can be installed.
can_install() {
  [ "${FOVEAL_INSTALL:-1}" != 0 ] && command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || return 1
  [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null
}

# install PACKAGE...: those that are missing. Where that is not allowed, says so; 1 if one cannot be installed.
install() {
  local package wanted=()
  command -v dpkg-query >/dev/null || return 0
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || wanted+=("$package")
  done
  [ "${#wanted[@]}" -eq 0 ] && return
  if ! can_install; then
    echo "not installed: ${wanted[*]}" >&2
    return
  fi
  as_root apt-get update -qq || echo 'the package lists could not be renewed' >&2
  for package in "${wanted[@]}"; do
    echo "installing $package"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null || {
      echo "$package could not be installed" >&2
      return 1
    }
  done
}

# fetch FOLDER HASH ARGUMENT...: one wheel from PyPI, unpacked to FOLDER once. Its hash is checked before anything of it is used.
fetch() {
  local folder=$1 hash=$2 name=$3
  shift 3
  [ -f "$folder/.complete" ] && return
  rm -rf "$folder"
  mkdir -p "$folder/wheel"
  echo "$name --hash=sha256:$hash" >"$folder/requirement.txt"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes "$@" \
    --python-version 3.11 --implementation cp --abi cp311 --abi none --dest "$folder/wheel" -r "$folder/requirement.txt" &&
    python3 -m zipfile -e "$folder"/wheel/*.whl "$folder" && rm -r "$folder/wheel" && touch "$folder/.complete"
}

has_target() { [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ]; }

# Whether `cross` can build for a target: with rustup's standard library, or with Debian's source of one, which is built too.
can_cross() { has_target "$1" || { [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/src/rust/library ]; }; }

# cross TARGET COMMAND ARGUMENT...: cargo's command for another target.
cross() {
  local target=$1 command=$2
  shift 2
  if has_target "$target"; then
    cargo "$command" --target "$target" "$@"
  else
    # A stable compiler that builds its own standard library has to be told that this is meant.
    env -u RUSTUP_TOOLCHAIN RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
      /usr/bin/cargo "$command" -Zbuild-std=std,panic_unwind --target "$target" "$@"
  fi
}

#!/usr/bin/env bash
# Foveal's attention and burn's, measured one after the other on the same adapter, in one table.
#
#   compare.sh [--adapter NAME] [--repeat N] [--fallback] [SHAPE]...
#
# See README.md.
set -euo pipefail

peers=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() {
  sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

measured=$(mktemp)
trap 'rm -f "$measured"' EXIT

foveal_options=(--json)
burn_options=(--foveal "$measured")
shapes=()
while (($#)); do
  case $1 in
    --adapter) foveal_options+=(--adapter "${2:?--adapter needs a name}"); shift 2 ;;
    --repeat)
      foveal_options+=(--repeat "${2:?--repeat needs a number}")
      burn_options+=(--repeat "$2")
      shift 2
      ;;
    --fallback) burn_options+=(--fallback); shift ;;
    -*) usage ;;
    *) shapes+=("$1"); shift ;;
  esac
done
((${#shapes[@]})) || shapes=(1x8x512x64 1x8x1024x64)
for shape in "${shapes[@]}"; do
  foveal_options+=(--shape "$shape")
done

foveal=(cargo run --release --quiet --manifest-path "$peers/../../Cargo.toml" -p foveal-cli --bin foveal --)
burn=(cargo run --release --quiet --manifest-path "$peers/burn/Cargo.toml" --)

# Both are built before anything is measured.
echo "building; burn takes long the first time" >&2
"${foveal[@]}" --version >&2
"${burn[@]}" --version >&2

# A wrong kernel is an exit status of 1 here and a row without a ratio in the table.
"${foveal[@]}" bench attention "${foveal_options[@]}" >"$measured" || echo "foveal: exit status $?" >&2
"${burn[@]}" "${burn_options[@]}" "${shapes[@]}"

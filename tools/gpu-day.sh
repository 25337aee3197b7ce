#!/usr/bin/env bash
# Checks and measures Foveal on a machine with a GPU in less than eight minutes, and other libraries there beside it.
#
#   tools/gpu-day.sh [--short] [--seconds N] OUT      writes OUT/report.json and OUT/report.md, and each program's output
#   FOVEAL_BIN=FOLDER ...                             runs the programs there, and builds nothing
#
# Checks: all operators' cases and recipes, 200 random cases. Rates of the adapter. Times of attention and of the other operators.
# Peers: PyTorch, if python3 has it with a GPU, and burn, if its program is in the folder; else they are skipped, and said. Each
# part has a time limit, and the report is written after each. --short tries the tool itself; --seconds limits the whole, 450
# by default.
#
# For a machine without a compiler, build here and take the folder along: it has to have foveal, foveal-benches and
# foveal-gpu-day; peer-burn is built by benches/peers/compare.sh.
#   cargo build --release -p foveal-cli -p foveal-benches -p foveal-gpu-day
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
if [ -z "${FOVEAL_BIN:-}" ]; then
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
  cargo build --release --manifest-path "$root/Cargo.toml" -p foveal-cli -p foveal-benches -p foveal-gpu-day
  FOVEAL_BIN=$CARGO_TARGET_DIR/release
fi
exec "$FOVEAL_BIN/foveal-gpu-day" --bin "$FOVEAL_BIN" "$@"

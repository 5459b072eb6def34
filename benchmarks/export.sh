#!/usr/bin/env bash
# The evidence of the export, in benchmarks/records: the race (`make bench`), parity on real and synthetic studies at the paper's
# size and at that of the shipped weights, float16, TensorRT's plans, how cost grows. Needs ../shared/mri and the cohort of
# benchmarks/synthetic.sh. About half an hour on two cores, which nothing else should use. A step whose result lies in
# results/export is not run again.
set -euo pipefail
cd "$(dirname "$0")/.."
. .venv/bin/activate
synthetic=${1:-results/synthetic}
out=results/export
records=benchmarks/records
mkdir -p "$out" "$records"

step() { # RESULT COMMAND...: the command's output becomes the result, whole or not at all
  local result=$out/$1
  shift
  if [[ -f $result ]]; then return; fi
  "$@" > "$result.tmp" # in no condition: there the shell would go on after a command that failed
  mv "$result.tmp" "$result"
}

race() {
  make bench >&2
  cp results/benchmark/benchmark.{json,png} "$records/"
  cat results/benchmark/benchmark.md
}

parity() { # EXPORTS, COUNT of synthetic studies beside the real pairs
  local -x MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000 # torch's time, not its page faults
  python -m benchmarks.parity_studies --mri ../shared/mri --dataset_dir "$synthetic/cohort-easy" \
    --datalist "$synthetic/easy/datalist.json" --subjects "$2" --output "$out/studies.json"
  python -m export parity --exports "$1" --datalist "$out/studies.json"
}

shipped_size() {
  python -m export onnx --output_dir results/exports-shipped --lean >&2
  parity results/exports-shipped 100
}

half() { # float16 may be refused: what is said then is the record
  { python -m export onnx --output_dir results/exports-half --forms gpu 2>&1 || true; } | sed -n '/^|/p'
}

step race.md race
step parity_full_size.md parity results/exports 20
step parity_shipped_size.md shipped_size
step float16.md half
step plans.md python -m benchmarks.tensorrt_plans --output_dir results/tensorrt
step scaling.md python -m export benchmark-scaling

section() { printf '\n## %s\n\n' "$1" && cat "$out/$2"; }
{
  printf '# Records of the export\n\nThe output of `bash benchmarks/export.sh`.\n\n#'
  cat "$out/race.md"
  printf '![Latency against memory](benchmark.png)\n'
  section "Parity with torch at 256 x 256 x 128: five real pairs, 20 synthetic studies, golden case, edge values" parity_full_size.md
  section "The same at the size of the shipped weights, 100 synthetic studies" parity_shipped_size.md
  section "Float16 at the size of the shipped weights: golden case and edge values" float16.md
  section "What TensorRT plans to take of a GPU's memory" plans.md
  section "How cost grows with voxels and modalities" scaling.md
} > "$records/EXPORT.md"

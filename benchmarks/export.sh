#!/usr/bin/env bash
# The evidence of the export, in benchmarks/records: the race (`make bench`), parity on real and synthetic studies at the paper's
# size and at that of the shipped weights, float16, TensorRT's plans, how cost grows. Needs ../shared/mri and the cohort of
# benchmarks/synthetic.sh. About half an hour on two cores, which nothing else should use.
set -euo pipefail
cd "$(dirname "$0")/.."
. .venv/bin/activate
records=benchmarks/records
synthetic=${1:-results/synthetic}
mkdir -p "$records"

studies() { # COUNT of synthetic ones beside the real pairs
  python benchmarks/parity_studies.py ../shared/mri "$synthetic/cohort-easy" "$synthetic/easy/datalist.json" "$1" \
    results/studies.json
}

make bench
cp results/benchmark/benchmark.{json,png} "$records/"
studies 20
python -m export parity --exports results/exports --datalist results/studies.json > results/parity_full.md

python -m export onnx --bundle_root bundle --output_dir results/exports-shipped --lean
studies 100
python -m export parity --exports results/exports-shipped --datalist results/studies.json > results/parity_shipped.md
# Float16 may be refused: what is said then is the record.
python -m export onnx --output_dir results/exports-half --forms gpu > results/half.md 2> results/half.log ||
  sed -n '/^|/p' results/half.log > results/half.md

python benchmarks/tensorrt_plans.py results/tensorrt
python -m export benchmark-scaling

{
  printf '# Records of the export\n\nThe output of `bash benchmarks/export.sh`, commit %s, %s.\n' \
    "$(git rev-parse --short HEAD)" "$(date +%F)"
  printf '\n#'
  cat results/benchmark/benchmark.md
  printf '![Latency against memory](benchmark.png)\n'
  printf '\n## Parity with torch at 256 x 256 x 128: five real pairs, 20 synthetic studies, golden case, edge values\n\n'
  cat results/parity_full.md
  printf '\n## The same at the size of the shipped weights, 100 synthetic studies\n\n'
  cat results/parity_shipped.md
  printf '\n## Float16 at the size of the shipped weights: golden case and edge values\n\n'
  sed '/^written/d' results/half.md
  printf '\n## What TensorRT plans to take\n\n'
  cat results/tensorrt/plans.md
  printf '\n## How cost grows with voxels and modalities\n\n'
  cat results/scaling/scaling.md
} > "$records/README.md"

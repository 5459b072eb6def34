#!/usr/bin/env bash
# The evidence of the export, in benchmarks/records: parity on real and synthetic studies at the size of the shipped weights and at
# the paper's, TensorRT's plans, the race (`make bench`), and how cost grows. Needs ../shared/mri and the cohort of
# benchmarks/synthetic.sh; half an hour on two cores, which nothing else should use.
set -euo pipefail
cd "$(dirname "$0")/.."
. .venv/bin/activate
records=benchmarks/records
synthetic=${1:-results/synthetic}
mkdir -p "$records"

python -m export onnx --bundle_root bundle --output_dir results/exports-shipped
python benchmarks/parity_studies.py ../shared/mri "$synthetic/cohort-easy" "$synthetic/easy/datalist.json" 100 results/studies.json
python -m export parity --exports results/exports-shipped --datalist results/studies.json | tee "$records/parity_shipped_size.md"

make bench
cp results/benchmark/benchmark.{md,json,png} "$records/"
python benchmarks/parity_studies.py ../shared/mri "$synthetic/cohort-easy" "$synthetic/easy/datalist.json" 20 results/studies.json
python -m export parity --exports results/exports --datalist results/studies.json | tee "$records/parity_full_size.md"

python benchmarks/tensorrt_plans.py results/tensorrt
cp results/tensorrt/plans.{md,json} "$records/"

python -m export benchmark-scaling
cp results/scaling/scaling.{md,json} "$records/"

#!/usr/bin/env bash
# The figures of benchmarks/records/FEDERATED.md: three synthetic hospitals with different scanners and prevalences; each alone,
# pooled, federated three ways, every model on every site's test children; leave-one-site-out without federation; and a rehearsal
# in which one site sends NaN twice and another drops out and returns. About an hour on two cores. Every step goes on where it
# was stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
. .venv/bin/activate
out=${1:-results/federated}
# Freed memory is kept for the next tensor: without this, a CPU run spends its time on page faults.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

python -m federated sites --output_dir "$out/sites" --seed 0 --voxel_mm 2
sites=("$out"/sites/site-{a,b,c}.json)
# 32 x 32 x 32 voxels and 20 epochs: what two cores can do, and no fair trial of the network.
rounds=${ROUNDS:-10}
common=(--spatial_size 32 32 32 --batch_size 4 --learning_rate_decay 0.9 --seed 0)
python -m federated compare --sites "${sites[@]}" --output_dir "$out/compare" --rounds "$rounds" --local_epochs 2 "${common[@]}" \
  --methods ${METHODS:-fedavg fedprox fedbn}
python -m federated leave-one-out --sites "${sites[@]}" --output_dir "$out/external" --epochs $((2 * rounds)) "${common[@]}"
python -m federated simulate --sites "${sites[@]}" --output_dir "$out/rehearsal" --rounds 5 --local_epochs 1 "${common[@]}" \
  --rehearse site-b:nan@1 site-b:nan@3 site-c:late@2 --round_timeout_s "${ROUND_TIMEOUT_S:-60}"
cp "$out/compare/cross_site.png" benchmarks/records/federated.png

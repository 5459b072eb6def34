#!/usr/bin/env bash
# The evidence on a synthetic cohort of the paper's size (95 children, preset `paper`, seed 1: none of them is among those that the
# shipped weights were trained on): the six models of Table 2, the shipped weights, Grad-CAM against known tubers, Table 3, and two
# reports: of the 19 children of the testing part with every model, and of all 95 with the shipped weights. Two hours on two cores, nearly
# all of it ResNet3D. Every step goes on where it was stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
. .venv/bin/activate
out=${1:-results/paper}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

infer() { # OUTPUT_DIR OPTIONS...
  python -m monai.bundle run inference --config_file bundle/configs/inference.json --bundle_root bundle \
    --brain_extraction mask --pictures False --output_dir "$@"
}

python -m scripts phantom --output_dir "$out/cohort" --subjects 95 --preset paper --seed 1 --voxel_mm 2
# 32 x 32 x 32 voxels and 20 epochs: what two cores can do for ResNet3D, and no fair trial of either network.
python -m scripts models --dataset_dir "$out/cohort" --output_dir "$out/models" --brain_extraction mask \
  --spatial_size 32 32 32 --epochs 20 --batch_size 8 --learning_rate_decay 0.9 --seed 0 --device cpu

infer "$out/shipped/testing" --dataset_dir "$out/cohort"
cp bundle/models/model.json "$out/shipped"
python -m scripts explain --dataset_dir "$out/cohort" --brain_extraction mask --output_dir "$out/explain/maps" --pictures False
python -m scripts explain --dataset_dir "$out/cohort" --brain_extraction mask --output_dir "$out/explain/random" --pictures False \
  --random_seed 0
python -m scripts localize --dataset_dir "$out/cohort" --maps_dir "$out/explain/maps" --random_dir "$out/explain/random" \
  --output_dir "$out/explain/localization"
python -m scripts table3 --output_dir "$out/table3" --spatial_size 64 64 32 --batch_size 4

python -m scripts report --dataset_dir "$out/cohort" --predictions "$out/shipped/testing/predictions.csv" --names "eTSC-Net (shipped)" \
  --localization "$out/explain/localization/localization.json" --output_dir "$out/report-shipped"

python benchmarks/evidence.py --results "$out"

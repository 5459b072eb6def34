#!/usr/bin/env bash
# The figures of benchmarks/records/BRAIN_EXTRACTION.md. MRI: ../shared/mri; COHORT: a synthetic cohort with skulls and masks.
# With HD_BET, the Python of `make hd-bet`, and WEIGHTS, a model folder, HD-BET's masks too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mri=${MRI:-../shared/mri}
cohort=${COHORT:-data/cohort}
python=${PYTHON:-.venv/bin/python}

echo "# Records of brain extraction"
echo
echo "The output of \`bash benchmarks/brain_extraction.sh\`. Three studies of adults with reference masks (\`../shared/mri\`): they show that"
echo "the code works, not how well it does on children."
echo
echo "## BET against the reference masks (Dice)"
echo
"$python" -m benchmarks.brain_extraction --mri "$mri"
if [[ -n ${HD_BET:-} ]]; then
  echo
  echo "## HD-BET's code with the model folder ${WEIGHTS##*/} (a small stand-in if it is minibet: not HD-BET's weights)"
  echo
  "$HD_BET" -m benchmarks.brain_extraction --mri "$mri" --hd_bet_weights "$WEIGHTS"
fi
echo
echo "## The test for a skull"
echo
"$python" -m benchmarks.skull --mri "$mri" --dataset_dir "$cohort"

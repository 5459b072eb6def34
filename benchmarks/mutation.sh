#!/usr/bin/env bash
# Mutation testing of the modules where a wrong number is dangerous: benchmarks/records/MUTATION.md has what it found.
# mutmut works in a copy, `mutants/`, and goes on where it was stopped. Which modules and tests: [tool.mutmut] in pyproject.toml.
# SAMPLE mutants of each module are run; SAMPLE=9999 runs all.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
.venv/bin/python -m pip install --quiet --constraint constraints.txt --group mutation
export OMP_NUM_THREADS=1
.venv/bin/mutmut run --max-children "${CHILDREN:-1}" 'scripts.outcome*' # makes the mutants of all modules
.venv/bin/python -m benchmarks.mutation --sample "${SAMPLE:-90}" | xargs --no-run-if-empty .venv/bin/mutmut run --max-children "${CHILDREN:-1}"
.venv/bin/python -m benchmarks.mutation

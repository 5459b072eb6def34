#!/usr/bin/env bash
# Mutation testing of the modules where a wrong number is dangerous: benchmarks/records/MUTATION.md has what it found.
# mutmut works in a copy, `mutants/`, and goes on where it was stopped. Which modules and tests: [tool.mutmut] in pyproject.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
.venv/bin/python -m pip install --quiet --constraint constraints.txt --group mutation
export OMP_NUM_THREADS=1
.venv/bin/mutmut run
.venv/bin/mutmut results

# The one list of verbs; CI calls only these. `make` alone lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench check

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED) ## make .venv with the tested versions, once

# torch first: it is the large one, and its pin keeps the newest CUDA build (several GB) from being chosen.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade "pip>=25.1"
	$(RUN) -m pip install --quiet --constraint constraints.txt torch
	$(RUN) -m pip install --quiet --constraint constraints.txt --group dev
	@touch $@

demo: setup ## make one synthetic study and score it: demo/result
	$(RUN) -m scripts phantom --output_dir demo/cohort --subjects 1 --preset paper --seed 1
	$(RUN) -m monai.bundle run inference --config_file bundle/configs/inference.json --bundle_root bundle \
		--dataset_dir demo/cohort --brain_extraction mask --output_dir demo/result
	@$(RUN) -m scripts show --output_dir demo/result

test: setup ## run the tests (about the full-size ones: CONTRIBUTING.md)
	$(RUN) -m pytest -q

bench: setup ## race every way of running the network at full size: results/benchmark
	$(RUN) -m pip install --quiet --constraint constraints.txt --group bench
	$(RUN) -m export onnx --bundle_root bundle --output_dir results/exports --spatial_size "[256,256,128]" --lean
	$(RUN) -m export benchmark --bundle_root bundle --exports results/exports --spatial_size "[256,256,128]" \
		--output_dir results/benchmark

check: setup ## lint, format, types, JSON
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@for file in bundle/configs/*.json; do \
		$(RUN) -m json.tool "$$file" > /dev/null || { echo "$$file is not JSON" >&2; exit 1; }; \
	done

# The one list of verbs; CI calls only these. `make` alone lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
HD_BET := .venv-hd-bet
TRITON := .venv-triton

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage bench check hd-bet hd-bet-test triton triton-test edge-page edge-wheel edge-bundle edge-demo docs package release
export ORT_DISABLE_TELEMETRY := 1
# Bytecode is written when a module is first used, not for every module of every distribution at its installation.
export PYTHONDONTWRITEBYTECODE :=

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED) ## make .venv with the tested versions, once

# torch first: it is the large one, and its pin keeps the newest CUDA build (several GB) from being chosen.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade "pip>=25.1"
	$(RUN) -m pip install --quiet --no-compile --constraint constraints.txt torch
	$(RUN) -m pip install --quiet --no-compile --constraint constraints.txt --group dev
	@touch $@

demo: setup ## make one synthetic study and score it: demo/result
	$(RUN) -m scripts phantom --output_dir demo/cohort --subjects 1 --preset paper --seed 1
	$(RUN) -m monai.bundle run inference --config_file bundle/configs/inference.json --bundle_root bundle \
		--dataset_dir demo/cohort --brain_extraction mask --output_dir demo/result
	@$(RUN) -m scripts show --output_dir demo/result

# Two processes of one thread each: more would only share two cores. On a larger machine: make test TEST_WORKERS=8
TEST_WORKERS ?= 2
TEST_OPTIONS ?=

test: setup ## run the tests (about the full-size ones: CONTRIBUTING.md)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(TEST_OPTIONS)

# Slower than the tests alone; every process that they start is measured too.
coverage: setup ## run the tests and say which lines and branches they reach: results/coverage
	$(RUN) -m pip install --quiet --constraint constraints.txt --group coverage
	@mkdir -p results/coverage
	OMP_NUM_THREADS=1 $(RUN) -m coverage run -m pytest -q -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(TEST_OPTIONS)
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage html --quiet
	$(RUN) -m coverage json --quiet -o results/coverage/report.json
	$(RUN) -m benchmarks.coverage_table --report results/coverage/report.json

hd-bet: $(HD_BET)/.installed ## make .venv-hd-bet: all that runs the bundle with HD-BET, its own torch of several GB among it

$(HD_BET)/.installed: pyproject.toml constraints-hd-bet.txt
	$(PYTHON) -m venv $(HD_BET)
	$(HD_BET)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(HD_BET)/bin/python -m pip install --quiet --constraint constraints-hd-bet.txt \
		--group run --group bet --group hd-bet pytest
	@touch $@

hd-bet-test: hd-bet ## run the tests of HD-BET in .venv-hd-bet, with stand-ins for its weights
	PYTHONPATH=. $(HD_BET)/bin/python -m pytest -q --noconftest tests/hd_bet

triton: $(TRITON)/.installed ## make .venv-triton: a Triton server from PyPI, and what its Python backend needs

$(TRITON)/.installed: constraints-triton.txt
	$(PYTHON) -m venv $(TRITON)
	$(TRITON)/bin/python -m pip install --quiet --no-deps --requirement constraints-triton.txt
	@touch $@

triton-test: setup triton ## have the real Triton serve a repository, and the edge server's clients ask both
	$(RUN) -m pytest -q -m slow tests/export/test_triton_server.py

bench: setup ## race every way of running the network at full size: results/benchmark
	$(RUN) -m pip install --quiet --constraint constraints.txt --group bench
	$(RUN) -m export onnx --bundle_root bundle --output_dir results/exports --spatial_size "[256,256,128]" --lean
	$(RUN) -m export benchmark --bundle_root bundle --exports results/exports --spatial_size "[256,256,128]" \
		--output_dir results/benchmark

edge-page: setup ## build the edge server's page; node and npm come from PyPI
	$(RUN) edge/page/build.py

edge-wheel: edge-page ## the edge package as one wheel, with its page: dist
	rm -rf edge/build dist/etscnet_edge-*.whl
	$(RUN) -m pip wheel --quiet --no-deps --wheel-dir dist ./edge

edge-bundle: edge-wheel ## all wheels for devices without a network: dist/edge-bundle
	$(RUN) edge/deploy/bundle.py --wheel dist/etscnet_edge-*-py3-none-any.whl --output_dir dist/edge-bundle

demo/exports/etscnet.json: bundle/models/model.pt $(wildcard export/*.py scripts/*.py) | setup
	$(RUN) -m export onnx --bundle_root bundle --output_dir demo/exports
	@touch $@

edge-demo: edge-wheel demo/exports/etscnet.json ## the edge package in an environment of its own: server, client, page, table: demo/edge
	$(RUN) -m scripts phantom --output_dir demo/cohort --subjects 1 --preset paper --seed 1
	$(RUN) edge/demo.py --wheel dist/etscnet_edge-*-py3-none-any.whl --exports demo/exports \
		--dataset_dir demo/cohort --output_dir demo/edge

# From the start each time: a page of a module that is gone would be a fault.
docs: setup ## build the documentation, every warning a fault: dist/docs
	rm -rf docs/api dist/docs
	$(RUN) -m sphinx -c docs -b html -q -W --keep-going --jobs auto --fresh-env --doctree-dir dist/doctrees . dist/docs
	@echo "dist/docs/index.html"

# The metadata's schema is downloaded where it does not lie beside the checkout.
SCHEMA := $(wildcard ../shared/schema/meta_schema_20240725.json)

package: setup ## the bundle as the Model Zoo has it, and the Zoo's checks on it: dist/package
	$(RUN) -m export package --output_dir dist/package
	$(RUN) -m export zoo-check --archive dist/package/*.zip $(if $(SCHEMA),--schema $(SCHEMA))

release: edge-wheel ## all that is released, hashed and signed by KEY=FILE: dist/release
	@test -n "$(KEY)" || { echo "Say which key signs: make release KEY=FILE (python -m export keygen --private_key FILE)" >&2; exit 1; }
	$(RUN) -m export release --private_key "$(KEY)" --output_dir dist/release

check: setup ## lint, format, types, JSON
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --num-workers auto
	@for file in bundle/configs/*.json; do \
		$(RUN) -m json.tool "$$file" > /dev/null || { echo "$$file is not JSON" >&2; exit 1; }; \
	done

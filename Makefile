PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DVC_NO_ANALYTICS := true
.DEFAULT_GOAL := help
.PHONY: help setup repro show page plots test test-slow test-gpu test-torch gpu-check verify golden golden-update bench bench-clients bench-input bench-options lint format docs readme audit preset lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

setup: $(STAMP)  ## create .venv and install what `make repro` needs, pinned

$(STAMP): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Python >= 3.11 is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --require-hashes -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt $(STAMP)
	$(BIN)/python -m pip install --require-hashes -r requirements-dev.txt
	@touch $@

repro: $(STAMP)  ## run what is out of date of the pipeline, print the results table (JOBS=n: n stages at a time)
	@$(BIN)/python -m harness hardware
	@$(BIN)/python -m harness repro $(if $(JOBS),--jobs $(JOBS))
	@$(BIN)/python -m harness show
	@$(BIN)/python -m harness verify --summary || true  # after a change, results are meant to differ

verify: $(STAMP)  ## say run by run whether the results here equal those of the commit; status 1 where one differs
	@$(BIN)/python -m harness verify

show: $(STAMP)  ## print the results table and where the report lies
	@$(BIN)/python -m harness show

page: $(STAMP)  ## write tables, figures and page of each preset with results, from their numbers, without training
	@printf '%s\n' $(dir $(wildcard results/*/comparison.json)) | xargs -P 2 -I{} \
	  sh -c '$(BIN)/python -m harness tables --from {} && $(BIN)/python -m harness figures --from {} && $(BIN)/python -m harness page --from {}'

plots: $(DEV)  ## DVC's plots in one page that needs no network: dvc_plots/index.html
	@$(BIN)/python -m harness.report.offline_plots
	@$(BIN)/dvc plots show --html-template .dvc/tmp/plots.html

test: $(DEV)  ## run the tests (12 to 20 minutes on two virtual cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-slow: $(DEV)  ## run the slow tests: torch.compile, every timm family, 200,000 clips (some 10 minutes)
	$(BIN)/python -m pytest -m slow

test-gpu: $(DEV)  ## run the tests that need a CUDA GPU
	$(BIN)/python -m pytest -m gpu

TORCH ?= 2.5.1
OTHER = .cache/torch-$(TORCH)-python-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# torch 2.5 comes with Triton 3.1, whose interpreter, on which tests run, fails with numpy 2
WITH_TORCH = torch==$(TORCH) 'numpy$(if $(filter 2.5.%,$(TORCH)),<2)'

test-torch:  ## run dcls' tests elsewhere: make test-torch TORCH=2.5.1 PYTHON=python3.10 (up to 7 GB in .cache, some 20 minutes)
	test -x $(OTHER)/bin/python || $(PYTHON) -m venv $(OTHER)
	$(OTHER)/bin/python -m pip install -q $(WITH_TORCH) pytest hypothesis packaging 'setuptools>=77'
	@for more in timm 'onnx onnxruntime onnxscript' matplotlib dcls==0.1.1; do \
	  $(OTHER)/bin/python -m pip install -q $(WITH_TORCH) $$more || echo "no $$more for torch $(TORCH): tests of it are skipped"; \
	done
	OMP_NUM_THREADS=1 $(OTHER)/bin/python -m pytest -rs --confcutdir tests/dcls tests/dcls

gpu-check: $(DEV)  ## what to ask a GPU first: tests, speed ratios, training, in 8 minutes (docs/throughput.md)
	PYTHON=$(BIN)/python bash benchmarks/gpu_check.sh

golden: $(DEV)  ## compare the first 20 losses of each tiny model with the committed ones
	$(BIN)/python -m pytest tests/test_golden.py

golden-update: $(DEV)  ## write them anew, after a change that is meant to move them
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest tests/test_golden.py

bench: $(DEV)  ## time dcls against the published package and the 7x7 baselines (some 10 minutes)
	$(BIN)/python -m benchmarks.dcls_bench

bench-clients: $(DEV)  ## time dcls against the published package in layers of vision, audio, delays and sensing (2 minutes)
	$(BIN)/python -m benchmarks.clients_bench

bench-input: $(DEV)  ## time reading, augmenting and mel, and how long a training step waits (some 5 minutes)
	$(BIN)/python -m benchmarks.input_bench

bench-options: $(DEV)  ## time and weigh the training options: compile, bf16, checkpointing ... (some 10 minutes)
	$(BIN)/python -m benchmarks.options_bench

lint: $(DEV)  ## ruff check, ruff format, mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(DEV)  ## let ruff format and mend the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(DEV)  ## write docs/parameters.md, the table of all parameters, and dcls' reference as pages in docs/api
	$(BIN)/python -m harness.config.parameter_table > docs/parameters.md
	$(BIN)/python -m pdoc --docformat numpy --output-directory docs/api dcls

readme: $(DEV)  ## write README.md's table, its output and docs/page.png anew from the results (needs Chromium)
	$(BIN)/python -m harness.report.readme

audit: $(DEV)  ## look the pins of both requirement files up in the advisory database (needs the network)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements.txt -r requirements-dev.txt

preset: $(STAMP)  ## switch params.yaml: make preset NAME=instruments (or another file of presets/)
	@$(BIN)/python -m harness preset "$(NAME)"

lock: $(STAMP)  ## compile the two *.in files into requirement files, with pins and hashes for every platform
	$(BIN)/python -m pip install -q uv
	@for name in requirements requirements-dev; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --custom-compile-command "make lock" --output-file $$name.txt $$name.in || exit; \
	done

clean:  ## delete interrupted downloads and runs (.cache); data, runs and .venv stay
	rm -rf .cache

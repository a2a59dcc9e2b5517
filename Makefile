# The two commands of the README are `make reproduce` and `make test`. Each sets up .venv by itself when it has to.
# Pass options on with ARGS:  make reproduce ARGS="--profile paper --jobs 8"    make test ARGS="-m 'not slow'"

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/installed
PYTHON ?=

.PHONY: help install demo reproduce test lab lessons bench data lint constraints
.DELETE_ON_ERROR:

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile

install: $(STAMP)  ## create .venv and install, nothing else

demo: $(STAMP)  ## one minute: four rules under attack, one picture
	$(PY) -m gaa_core demo $(ARGS)

reproduce: $(STAMP)  ## build the figures and the claims table (quick profile), then show where they are
	$(PY) -m gaa_core reproduce $(ARGS)

test: $(STAMP)  ## all tests, slow ones too; warnings are errors
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lab: $(STAMP)  ## JupyterLab on this machine only, with its token
	$(VENV)/bin/jupyter lab --ServerApp.ip=127.0.0.1 --LabApp.default_url=/lab/tree/notebooks \
	    $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

lessons: $(STAMP)  ## handouts and slides of the lessons, in results/lessons (ARGS=--solutions: with their pictures)
	$(PY) notebooks/teaching/handouts.py results/lessons $(ARGS)

bench: $(STAMP)  ## time the rules beside other libraries that are installed, and steps beside an ordinary one
	$(PY) tests/benchmarks/bench.py $(BENCH)
	$(PY) -m pytest tests/benchmarks --benchmark-only $(ARGS)

data: $(STAMP)  ## download the official data files of the case studies
	$(PY) -m gaa_core fetch $(ARGS)

lint: $(STAMP)  ## formatter and linter, without changing anything
	$(PY) -m ruff format --check . && $(PY) -m ruff check .

# The stamp is written last, so an installation that was interrupted is done again.
# A .venv without a working pip (interrupted earlier still) is built anew.
$(STAMP): pyproject.toml constraints.txt
	@set -e; $(PY) -m pip --version > /dev/null 2>&1 || { \
	for python in $(if $(PYTHON),"$(PYTHON)",python3.11 python3 python3.12 python3.13 python); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then \
	        echo "Creating $(VENV) with $$("$$python" --version)"; exec "$$python" -m venv --clear $(VENV); \
	    fi; \
	done; \
	echo "Python 3.11 or newer is needed and was not found$(if $(PYTHON), as '$(PYTHON)')." >&2; \
	echo "Install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PY) -m pip install --disable-pip-version-check -e '.[test]' -c constraints.txt
	@touch $@

# For maintainers, after a change of dependencies in pyproject.toml. Needs uv. torch keeps its version: an open range would
# resolve to ever newer CUDA builds of several GB, and a "+cpu" version exists on PyTorch's own site only.
constraints:
	{ sed -n '/^#/p;/^[^#]/q' constraints.txt; grep '^torch==' constraints.txt > torch.pending; \
	uv pip compile --quiet --universal --python-version 3.11 --extra test --extra distributed --extra browser --upgrade \
	    --constraint torch.pending --no-header --no-annotate --no-emit-index-url pyproject.toml; } > constraints.pending
	mv constraints.pending constraints.txt; rm torch.pending

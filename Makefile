# make demo    see the plugin work: in napari, or into demo-output/ without a display
# make test    run the tests (ARGS="-k tiling" runs some of them)
# make check   lint, formatting, types, import direction, plugin manifest
# make venv    only set up .venv
# make clean   remove everything that these targets made
#
# Needs python3 (3.11 or later), make and git. On Debian and Ubuntu the system
# packages that are missing are installed by apt-get.

PYTHON ?= python3
VENV ?= .venv
# The version the tests are run with; make TORCH=torch takes the newest one allowed.
TORCH ?= torch==2.13.0
ARGS ?=

BIN := $(VENV)/bin
# uv takes a minute where pip takes five.
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: demo test check venv clean system

demo: $(VENV)/.installed | system
	$(BIN)/napari-hrsr demo $(ARGS)

# pytest-xvfb brings up a display of its own, so that no window appears. Two
# processes with a thread each: small networks do not gain from more threads.
# napari's Shapes start numba, which sets OpenMP's threads for all of the process.
test: TESTS := yes
test: $(VENV)/.installed-dev | system
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.installed-dev | system
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate --imports src/napari_hrsr/napari.yaml

venv: $(VENV)/.installed-dev

system:
	@PYTHON="$(PYTHON)" TESTS="$(TESTS)" scripts/system-packages.sh

$(VENV)/.installed: pyproject.toml | system
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(UV) $(if $(TORCH),"$(TORCH)") --editable ".[all]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(UV) --group dev
	@touch $@

clean:
	rm -rf $(VENV) demo-output build dist .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find src tests scripts benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Everything a newcomer needs: `make test` from a fresh clone sets up and tests; `make run` sets up and trains.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints.txt

.PHONY: install check test test-slow run perf power coverage schema reference clean

install: $(VENV)/.installed

# torch and torchvision come from the same release of the default index: a CPU-only torch beside it cannot import torchvision.
$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[dev]'
	$(BIN)/python -c "import torchvision"
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

run: install
	$(BIN)/radisim-cl run radiologist

perf: install
	for file in perf/[!_]*.py; do $(BIN)/python $$file || exit 1; done

power: install
	OMP_NUM_THREADS=1 $(BIN)/python docs/gate_power.py

coverage: install
	OMP_NUM_THREADS=1 $(BIN)/python docs/coverage.py

schema: install
	mkdir -p docs/schema
	for kind in curriculum stage benchmark catalog templates; do $(BIN)/radisim-cl schema $$kind > docs/schema/$$kind.json; done

reference: install
	$(BIN)/python docs/reference.py > docs/reference.md

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist

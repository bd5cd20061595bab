# `make run` and `make test` each do the whole set-up first; the second time there is nothing left to do.
# Stamps of what is done lie in .make/, the Python environment in .venv/.

PYTHON ?= python3
BENCH ?= capture overhead
ARGS ?=
SYSTEM_PACKAGES ?= install

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BPF := src/shield/collector/linux/bpf
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test demo bench lint format docs wheel lock clean

help: ## Show this list
	@echo "Usage: make TARGET [ARGS='...'] [PYTHON=python3.12]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: .make/system .make/requirements .make/package $(BPF)/process.bpf.o ## Prepare .venv and the BPF program (quick when done)

run: setup ## Watch this host: shield run ARGS
	@$(BIN)/shield run $(ARGS)

test: setup ## Run the tests: pytest ARGS
	@$(BIN)/pytest $(ARGS)

demo: setup ## Show what Shield sees: harmless imitations, as root (ARGS=--list)
	@scripts/demonstrate $(ARGS)

bench: setup ## Measure: python -m bench.NAME ARGS for each NAME in BENCH
	@for name in $(BENCH); do $(BIN)/python -m bench.$$name $(ARGS) || exit; done

lint: setup ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup ## Put the code into its format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: setup ## Build the documentation into site/
	$(if $(wildcard scripts/reference.py),$(BIN)/python scripts/reference.py docs/reference)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir site

wheel: setup ## Build the wheel and the source distribution into dist/
	$(BIN)/python -m build --no-isolation --outdir dist

# The lowest Python we promise, Debian 12's 3.11.2, decides: what suits it suits the newer ones. Wheels only.
lock: setup ## Renew the locked requirements (ARGS=--upgrade for newer versions)
	$(COMPILE) $(ARGS) --output-file requirements/runtime.txt pyproject.toml
	$(COMPILE) $(ARGS) --extra dev --constraint requirements/runtime.txt --output-file requirements/dev.txt pyproject.toml
	@for version in 3.11.2 3.12.0 3.13.0; do for machine in x86_64 aarch64; do \
	echo "Checking the lock for Python $$version on $$machine" && \
	$(PIP) install --dry-run --ignore-installed --require-hashes --only-binary :all: --requirement requirements/dev.txt \
	--python-version $$version --implementation cp --target .make/never \
	--platform manylinux_2_28_$$machine --platform manylinux_2_17_$$machine --platform manylinux2014_$$machine || exit; \
	done; done

clean: ## Remove everything that was built; .venv and .make too
	rm -rf .venv .make build dist site .pytest_cache .ruff_cache .hypothesis .import_linter_cache $(BPF)/*.o
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

.make/system: scripts/system-packages
	@mkdir -p .make
ifneq ($(SYSTEM_PACKAGES),skip)
	@scripts/system-packages
endif
	@touch $@

.venv/pyvenv.cfg: | .make/system
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Shield needs Python 3.11 or newer, $(PYTHON) is older or missing: make PYTHON=/path/to/python3.11" >&2; exit 3; }
	@echo "Creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv

.make/requirements: requirements/dev.txt requirements/peers.txt .venv/pyvenv.cfg
	@echo "Installing the locked requirements (about a minute)"
	@$(PIP) install --require-hashes --only-binary :all: --requirement requirements/dev.txt
	@$(PIP) install --require-hashes --only-binary :all: --no-deps --requirement requirements/peers.txt
	@touch $@

.make/package: pyproject.toml hatch_build.py .make/requirements
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(BPF)/process.bpf.o: $(wildcard $(BPF)/*.c $(BPF)/*.h) $(BPF)/build.py | .make/package
	@$(BIN)/python -m shield.collector.linux.bpf.build$(if $(filter skip,$(SYSTEM_PACKAGES)), || echo "Going on without it")

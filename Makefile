# The one task file, for people and for CI.  `make demo` and `make test` do everything.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMPS := .make
CARGO := cargo
CARGO_MANIFEST := protocols/Cargo.toml
RUST_SOURCES := $(shell find protocols/psi protocols/bindings -name '*.rs' -o -name 'Cargo.toml') \
	protocols/Cargo.toml protocols/Cargo.lock

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_QUIET := 1

.PHONY: help setup demo test check docs format lint types imports stubs licences wire rust-test wheel \
	bench bench-full bench-concurrency bench-tables bench-audit campaign fuzz interop clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(STAMPS)/venv: pyproject.toml constraints.txt
	@mkdir -p $(STAMPS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python tests/install_dependencies.py
	touch $@

# A development install: Python sources are used where they lie, the extension is built in place.
$(STAMPS)/build: $(STAMPS)/venv $(RUST_SOURCES)
	@echo "building the Rust core; the first time it takes a minute or two"
	VIRTUAL_ENV=$(CURDIR)/$(VENV) PATH=$(BIN):$$PATH $(BIN)/maturin develop --quiet --release --locked
	touch $@

$(STAMPS)/docs: $(STAMPS)/venv
	$(BIN)/python tests/install_dependencies.py docs
	touch $@

setup: $(STAMPS)/build  ## virtual environment, dependencies, build

demo: setup  ## set up, then run one whole exchange between two processes over TLS
	$(BIN)/psishare demo

test: setup rust-test  ## set up, then pass all tests
	$(BIN)/python -m pytest --numprocesses auto

rust-test: setup
	$(CARGO) test --quiet --locked --release --manifest-path $(CARGO_MANIFEST) --package psishare-psi

check: setup format lint types imports stubs licences wire docs  ## format, lint, types, imports, stubs, licences, docs

format:
	$(BIN)/ruff format --check .
	$(CARGO) fmt --manifest-path $(CARGO_MANIFEST) --all --check

lint:
	$(BIN)/ruff check .
	$(CARGO) clippy --quiet --locked --release --manifest-path $(CARGO_MANIFEST) --workspace --all-targets -- -D warnings

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

stubs:
	$(BIN)/python -m mypy.stubtest psishare._native --mypy-config-file pyproject.toml

licences:
	$(BIN)/python tests/licences.py

wire:
	$(BIN)/python tests/wire_is_current.py

docs: $(STAMPS)/docs  ## build the documents and the reference into build/docs/site; a warning fails
	$(BIN)/python docs/site.py

wheel: $(STAMPS)/venv  ## build the wheel into dist/
	PATH=$(BIN):$$PATH $(BIN)/maturin build --release --locked -i $(BIN)/python --out dist

bench: setup  ## measure beside the peers, 20 minutes on two cores; goes on where it was stopped
	$(BIN)/python -m benchmarks

bench-full: setup  ## the same to the largest sizes, for hours; goes on where it was stopped
	$(BIN)/python -m benchmarks --full

bench-concurrency: setup  ## 100 exchanges at once from 4 clients against one serve, beside one client alone
	$(BIN)/python -m benchmarks.concurrency

bench-tables: setup  ## 20 million rows through reading and canonicalising; speed of each kind
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python -m benchmarks.identifiers

bench-audit: setup  ## an append beside the disk's own fsync; a bundle of 100,000 exchanges verified
	$(BIN)/python -m benchmarks.audit

campaign: setup  ## 200 exchanges among kills and cuts; 500 killed log writers, 120 killed servers; tampering
	PYTHONPATH=tests:tests/cli:. $(BIN)/python tests/exchange_campaign.py
	PYTHONPATH=tests:. $(BIN)/python tests/audit_campaign.py
	PYTHONPATH=tests:. $(BIN)/python tests/budget_campaign.py
	PSISHARE_EVERY_BYTE=1 $(BIN)/python -m pytest -q tests/unit/audit/test_audit_fsck.py
	PSISHARE_TAMPERINGS=1000 $(BIN)/python -m pytest -q tests/adversary/test_evidence_tampering.py

fuzz: setup  ## fuzz every parser of hostile bytes with atheris, FUZZ_S seconds each
	$(BIN)/python tests/install_dependencies.py fuzz
	PYTHONPATH=tests:. $(BIN)/python tests/fuzz_parsers.py $(FUZZ_S)

interop: setup  ## exchange logs with Go's sumdb/note and sumdb/tlog, and sign with SoftHSM's PKCS#11 token
	tests/interop/install.sh
	$(BIN)/python -m pip install --quiet --disable-pip-version-check python-pkcs11==0.10.1
	$(BIN)/python -m pytest -q -rs tests/interop/test_go_sumdb.py tests/interop/test_pkcs11_token.py

clean:  ## remove what was built
	rm -rf $(VENV) $(STAMPS) dist protocols/target .hypothesis .mypy_cache .ruff_cache .pytest_cache

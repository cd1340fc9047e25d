# Two commands on a fresh machine with Python 3.11+, git and make:
#   make demo    set everything up and run the whole survey, offline
#   make test    set everything up and run lint, types and tests
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types kernels types-and-kernels unit debian hub audit architectures indicators bench docs pictures clean

demo: .venv/ready
	$(BIN)/survey demo

test: lint types-and-kernels unit

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

# Compiles the loops, which many processes of a fresh machine's first tests would otherwise each do for themselves.
kernels: .venv/ready
	$(BIN)/pytest -q tests/survey/onepass/test_kernels.py

# Side by side, as each takes one core.
types-and-kernels: .venv/ready
	$(MAKE) --no-print-directory -j 2 types kernels

# Three files at a time on CI's two cores, as many mostly wait. The longest come first (tests/conftest.py).
# The tests start a thousand processes: whatever the environment says, Python keeps what it compiles.
unit: .venv/ready debian
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -m "not hub" -n 3 --dist loadfile --no-loadscope-reorder

# What some tests run that pip does not bring: a cron daemon, systemd's own checks of its units, hosts,
# and a browser.
# Where these cannot be installed, the tests say what they miss.
DEBIAN := cron systemd util-linux iproute2 procps chromium-headless-shell fonts-dejavu-core
debian:
	@PATH="$$PATH:/usr/sbin"; \
	if ! { command -v cron && command -v systemd-analyze && command -v unshare && command -v flock && \
	     command -v ip && command -v pgrep && command -v chromium-headless-shell; } >/dev/null && \
	   [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBIAN) >/dev/null || \
		echo "could not install $(DEBIAN); some tests will say so"; \
	fi

# Surveys public models from the real Hub and compares them with published figures.
hub: .venv/ready
	$(BIN)/pytest -m hub

# Compares the versions in constraints.txt to known vulnerabilities. It needs the internet; where there is none,
# fetch https://storage.googleapis.com/osv-vulnerabilities/PyPI/all.zip elsewhere: make audit OSV=all.zip
audit: .venv/ready
ifdef OSV
	$(BIN)/python -m tests.audit $(OSV)
else
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	.venv/audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt
endif

# A tiny checkpoint of every architecture of transformers, surveyed and compared: docs/architectures.md.
architectures: .venv/ready
	$(BIN)/python -W ignore -m tests.architectures

# The detector of untrained rows beside published ones, on planted matrices: docs/undertrained.md.
indicators: .venv/ready
	$(BIN)/python -m tests.indicators

bench: .venv/ready
	$(BIN)/python -m tests.bench

# Writes the generated parts of README.md and docs/, and what the commands in them print.
docs: .venv/ready
	$(BIN)/python -m tests.documents

# Makes the pictures in docs/pictures, which needs a browser (`make debian`) and two minutes.
pictures: .venv/ready
	$(BIN)/python -m tests.documents.pictures

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info survey-demo

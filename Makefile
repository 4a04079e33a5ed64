# make demo       a live desktop to watch, from nothing, in one command
# make test       set-up, checks and the whole suite
# make lint       the checks alone
# make docs       write again what is generated: docs/cli.md, schemas, reference
# make lock       write requirements.lock again, after pyproject.toml changed

SHELL := /bin/bash
UV := $(or $(shell command -v uv),.venv/bin/uv)
.DEFAULT_GOAL := help
.PHONY: help demo demo-stop setup test lint docs lock

help:
	@sed -n 's/^# make /make /p' Makefile

demo:
	@scripts/setup.sh demo
	@scripts/demo.sh start

demo-stop:
	@scripts/demo.sh stop

setup:
	@scripts/setup.sh test

test: setup lint
	@scripts/test.sh

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

docs:
	.venv/bin/python -m streamsd.cli.reference docs/cli.md
	.venv/bin/python -m streamsd.document.reference docs/reference
	.venv/bin/python -m streamsd.flow.reference docs/flows.md
	.venv/bin/python -m streamsd.document.schema > schemas/profile.schema.json

# setuptools and wheel: the package itself is built without fetching anything
lock:
	printf 'setuptools>=77\nwheel\n' | $(UV) pip compile pyproject.toml - --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade --quiet --output-file requirements.lock

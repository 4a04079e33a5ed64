"""What a test needs on this machine: missing, it skips; under STREAMSD_REQUIRE_PROGRAMS=1 it fails instead."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest


def need(program: str) -> str:
    """The program's path."""
    found = shutil.which(program)
    if found is None:
        _missing(f"{program} is not installed")
    return found or ""


def need_module(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        _missing(f"the Python module {module} is not installed")


def _missing(message: str) -> None:
    if os.environ.get("STREAMSD_REQUIRE_PROGRAMS") == "1":
        pytest.fail(message)
    pytest.skip(message)

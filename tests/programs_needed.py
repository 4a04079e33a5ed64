"""What a test needs on this machine: missing, it skips; under STREAMSD_REQUIRE_PROGRAMS=1 it fails instead."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

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


def need_bytewax() -> None:
    """It has packages for Python 3.11 and 3.12: on newer ones no machine can have it."""
    if sys.version_info >= (3, 13):
        pytest.skip("Bytewax has no package for this Python")
    need_module("bytewax")


def _missing(message: str) -> None:
    if os.environ.get("STREAMSD_REQUIRE_PROGRAMS") == "1":
        pytest.fail(message)
    pytest.skip(message)

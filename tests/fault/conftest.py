"""The same hosts as in the end-to-end tests."""

from tests.e2e.conftest import host

__all__ = ["host"]

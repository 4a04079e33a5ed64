"""The spec of a flow: it lives with the flow's language, which the runner and the CLI read too."""

from __future__ import annotations

from streamsd.flow.spec.flow import FlowSpec

__all__ = ["FlowSpec"]

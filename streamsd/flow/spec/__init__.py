"""What a flow is declared as: the models behind `flows.<name>` of a profile, and behind a file of `streamsd flow run`."""

from streamsd.flow.spec.flow import FlowSpec

__all__ = ["FlowSpec"]

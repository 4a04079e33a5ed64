"""What a flow is declared as: the models behind `flows.<name>` of a profile, and of `streamsd flow run FILE`."""

from streamsd.flow.spec.flow import FlowSpec

__all__ = ["FlowSpec"]

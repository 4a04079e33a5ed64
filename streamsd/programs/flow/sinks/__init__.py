"""The sinks of a flow. Each module is imported only when a flow has such a sink."""

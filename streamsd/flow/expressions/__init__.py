"""The expressions of a flow: a typed subset of Python, checked before anything runs, compiled into the flow's loop."""

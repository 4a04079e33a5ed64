"""Data flows: the language of a flow, its compiler, its windows and its state. Pure: no socket, no process, no Bytewax.

The kind (`streamsd.kinds.flow`) validates with it, the runner (`streamsd.programs.flow`) runs what it compiles, and the
CLI tests and explains flows with it.
"""

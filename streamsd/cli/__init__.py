"""The command line. One file a command; each asks the daemon over its socket, or works without one where it can.

Every module here is light to import: what is heavy (pydantic, yaml, the daemon) is imported inside the command that
needs it, so that asking a running daemon costs about a tenth of a second.
"""

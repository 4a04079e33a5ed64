"""The words every other room speaks: addresses, diagnostics, units of measure, change policy, processes, kinds.

Nothing here starts a process or reads a file. Every other package may import this one; it imports none of them.
"""

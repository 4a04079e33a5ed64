"""Running units: their files, control groups, probes, and the runtimes that carry them out (supervisord/).

The engine asks probes and hands units to a runtime; it knows either by the protocols of core only.
"""

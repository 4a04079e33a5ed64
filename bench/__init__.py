"""Benchmarks: each prints a table and JSON, with medians. Run as `python -m bench.NAME`."""

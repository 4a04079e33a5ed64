"""OBS Studio: how it is started, what its sources, filters and transitions are called, and what is said to the
director that keeps one.

What was measured stands in docs/obs.md and docs/adr/0008-obs-director.md.
"""

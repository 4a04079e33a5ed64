"""The default runtime: supervisord, with a plugin that makes it quick, exact and leave no orphan.

`runtime.py`, `channel.py` and `boot.py` run in the controller. `plugin.py`, `control.py`, `units.py`, `child.py`,
`logs.py` and `timers.py` run inside supervisord and import the standard library, supervisor and the light rooms of
streamsd only: they keep supervisord small. `wire.py` is what the two sides say to each other.

docs/adr/0001-runtime-on-supervisord.md says why it is built like this.
"""

"""The launcher of OBS: the main process of an `obs` unit.

It brings OBS's own configuration files to what is declared without losing what OBS keeps in them, starts OBS, ends it
by closing its window when it is asked to end (SIGTERM has no handler in OBS and loses what it has not written), and
ends as OBS ends.
"""

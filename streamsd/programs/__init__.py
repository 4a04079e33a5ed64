"""Processes of our own, supervised like any other program. Nothing imports them: kinds name them in a command line."""

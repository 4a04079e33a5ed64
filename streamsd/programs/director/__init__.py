"""The director: keeps one OBS as declared, over the one websocket connection it holds.

`python -m streamsd.programs.director` reads the desired document it is handed through its control socket (and keeps
it, so that a director that starts anew goes on without the daemon), reads OBS back by batches, sends only what
differs, watches events, polls for what has no event, and reports.
"""

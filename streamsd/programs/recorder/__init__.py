"""The recorder: keeps one stream on disk in segments, whole ones only, for as long as was asked.

The parent of one `ffmpeg -c copy`, so that a full disk or a vanished directory is a state with a name, and not a crash.
"""

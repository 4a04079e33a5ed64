"""ffmpeg: what it is told (render.py), and what the one on this host can do (capabilities.py).

`media.py` has the words for both: what is captured, how it is encoded.
"""

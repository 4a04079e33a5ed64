"""The ingest: an RTMP server for one publisher, such as OBS, whose pictures and sound go to a stream's relay.

A process that stays while publishers come and go: ffmpeg's own listener ends with each of them, checks no key, and
would have the key in its command line. Of RTMP only what publishing takes is here; ffmpeg does the rest: it reads what
was published as FLV, copies it and hands it to the relay.
"""

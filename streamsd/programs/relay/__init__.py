"""The relay: takes one encoder's output and hands it to any number of readers, each on its own terms.

A process of its own, one a stream. See docs/adr/0009-relay.md for why it is not ffmpeg's tee and not PyAV.
"""

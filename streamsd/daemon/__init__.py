"""The daemon: wires the engine to this host, the profile's files and whoever asks."""

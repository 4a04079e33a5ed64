"""The kind App: any program, kept running, on a display and a sound device if it wants them."""

"""The kind Flow: a data flow in a process of its own."""

"""The flow runner: a process of its own that runs one data flow on Bytewax, from its sources to its sinks."""

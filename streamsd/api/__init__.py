"""The API: HTTP over a unix socket, for the command line and for programs on this host. The daemon starts it."""

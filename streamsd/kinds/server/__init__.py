"""The kind Server: a small web server for what streams publish."""

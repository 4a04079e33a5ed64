"""The web server: hands out what streams publish, and a page to watch each. Read-only, and nothing beside its root."""

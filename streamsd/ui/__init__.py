"""The pages that the web server hands out, as files of the package (static/)."""

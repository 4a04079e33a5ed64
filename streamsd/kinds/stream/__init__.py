"""The kind Stream: pictures and sound, encoded once, sent to any number of destinations."""

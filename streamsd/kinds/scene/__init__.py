"""The kind Scene: what an OBS instance shows, declared."""

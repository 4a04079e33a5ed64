"""The kind Obs: an instance of OBS Studio that is kept as declared."""

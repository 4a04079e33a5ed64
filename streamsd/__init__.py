"""streamsd: a declarative supervisor for everything a host streams."""

__version__ = "0.1.0"

"""The kind Audio: a virtual sound device that programs play to and streams record."""

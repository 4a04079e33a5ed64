"""The window launcher: finds a window and becomes the program that captures it."""

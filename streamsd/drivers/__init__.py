"""One folder a program: what it is told, what it can do, how it is measured and changed while it runs.

Kinds call them. A driver knows its program and no kind; what two kinds share lies here.
"""

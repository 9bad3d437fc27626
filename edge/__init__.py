"""The till: decides, remembers, tells."""

__version__ = "0.1.0"

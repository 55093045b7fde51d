"""emobench: what the units of a facial-emotion network react to, and whether strengthening them helps."""

__version__ = "0.1.0"

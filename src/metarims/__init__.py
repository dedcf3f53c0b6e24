"""Modular recurrent agents that learn at two speeds."""

__version__ = "0.1.0"

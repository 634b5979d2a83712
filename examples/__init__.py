"""Strategies to read, run and copy: see docs/own-strategies.md."""

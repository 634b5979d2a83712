"""The version of the program; `setup.cfg` reads it here."""

VERSION = "1.0.0"

"""Checks of the machine, of packages, and of a finished sweep."""

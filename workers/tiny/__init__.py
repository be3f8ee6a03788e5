"""Tiny checkpoints that are built on the spot, and stand-ins of large bases."""

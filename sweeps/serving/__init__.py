"""Serving a registered captioner: over HTTP with ``sweeps serve``, or at the terminal."""

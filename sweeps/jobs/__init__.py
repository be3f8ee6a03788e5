"""Sweeps as jobs of a Ray cluster: sent through Ray's Jobs API, found again, followed, stopped."""

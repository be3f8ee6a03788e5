"""Samples made into batches."""

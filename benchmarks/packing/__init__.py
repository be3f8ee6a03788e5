"""Packing beside a plain loop: `python -m benchmarks.packing` on one thread of a CPU.

Its parts are also those of `benchmarks.gpu`, which measures a GPU.
"""

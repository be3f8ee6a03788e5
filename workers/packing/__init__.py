"""Packed training: the adapters of many trials in one forward and backward of their base.

Read in this order: `eligible` (what can be packed), `layout` and `arena` (where the weights of
the adapters are), `low_rank` and `linear` (the arithmetic of one layer), `dropout`, `slot` (one
trial), `pack` (one training step of all), `rounds` (scoring them together).
"""

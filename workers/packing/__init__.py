"""Packed training: the adapters of many trials in one forward and backward of their base.

docs/packing.md explains it with a figure. Read in this order:

1. `eligible`: what can be packed;
2. `arena`: where the weights of the adapters are;
3. `linear`: the arithmetic of one layer, forward and backward;
4. `dropout`: random numbers that do not depend on neighbours; `optimizer`: AdamW of all rows;
5. `slot`, `epoch`: one trial, its files, which are peft's own, and its pass through an epoch;
6. `model`: how a pass is put together;
7. `pack`: the slots of a pack, and their trainer.
"""

"""Packed training: the adapters of many trials in one forward and backward of their base.

docs/packing.md explains it with a figure. Read in this order:

1. `eligible`: what can be packed;
2. `layout`, `arena`: where the weights of the adapters are;
3. `low_rank`, `linear`: the arithmetic of one layer, forward and backward;
4. `dropout`: random numbers that do not depend on neighbours;
5. `peft_weights`: first weights and files, which are peft's own;
6. `slot`: one trial and its way through an epoch;
7. `micro_batch`, `batches`, `segments`, `model`: how a pass is put together;
8. `slots`, `limits`, `pack`: who is in a pack, how much fits, and one micro-step of all slots;
9. `snapshots`, `together`: slots on disk, and the pack as a host uses it.
"""

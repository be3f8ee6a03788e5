"""What a GPU makes of this project, in one command: `benchmarks/gpu.sh`.

Each part of `benchmarks.gpu.parts` runs in a process of its own and tells what it finds as it finds
it. Weights are random and of real sizes; nothing is downloaded.
"""

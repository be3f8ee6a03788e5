"""Parts of `benchmarks.packing_gpu`."""

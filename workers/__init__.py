"""The trial side: data, model families, adapters, training, generation, metrics."""

"""A base loaded, adapters put on it, and the shapes in a checkpoint."""

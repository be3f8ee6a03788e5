"""Ray's cluster files: the sweep inside one, and the launcher that `ray submit` runs."""

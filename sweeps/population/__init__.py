"""Population based training: trials that take over the state of better ones, and how it is kept."""

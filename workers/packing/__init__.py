"""Training the trials of several slots in one batch."""

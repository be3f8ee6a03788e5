"""The loop of one epoch, and its loss."""

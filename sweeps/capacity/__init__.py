"""What fits where, before anything starts: layout, memory, disk."""

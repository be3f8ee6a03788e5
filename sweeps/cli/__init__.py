"""The commands: their arguments, output and questions."""

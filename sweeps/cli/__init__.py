"""The commands: what they take, print and ask."""

"""The champion of a registered model: how it changes, and the record of every change."""

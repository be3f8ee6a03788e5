"""Memory of a trial, estimated before anything is loaded.

Everything here is computed from the names and shapes in a checkpoint's files and from its config,
without torch, so that a sweep file is planned in milliseconds. Formulas: docs/memory.md.
"""

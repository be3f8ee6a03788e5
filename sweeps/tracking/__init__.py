"""The way from the records of a sweep to MLflow.

The `publisher` brings MLflow up to the records: `sources` are the records and how far MLflow has
acknowledged each, `projection` says what a line of a record writes, `remote_run` writes it, `line`
is the connection. `sync` publishes what is left when the driver is gone.
"""

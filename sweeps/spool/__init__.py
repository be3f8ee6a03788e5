"""What MLflow could not be told waits on disk, in order, until it can be.

An `outbox` sends what is written to a run of MLflow (`entries`) at once while the way there is open
(`line`) and nothing waits; else it keeps it in a file (`spool_file`). A `remote_run` knows what
MLflow has already, so that nothing is stored twice. `sync` sends what hosts have left.
"""

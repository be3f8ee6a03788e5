"""What MLflow could not be told waits on disk, in order, until it can be.

An `outbox` sends what is written to a run of MLflow (`entries`) at once while the way there is open
(`line`) and nothing waits; else it keeps it in a file (`spool_file`). A `remote_run` knows what
MLflow has already, so that nothing is stored twice. Hosts on the driver's machine keep all of it on
disk, and the driver's `teller` sends it. `sync` sends what is left when the driver is gone.
"""

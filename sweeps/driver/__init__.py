"""One running sweep: Tune's loop, its callbacks, requests, the live table."""

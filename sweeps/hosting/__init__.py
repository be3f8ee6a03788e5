"""Inside a host's actor: the thread that trains, and a trial's way from its slot to the record."""

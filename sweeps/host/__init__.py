"""Inside the actor of one host: its event loop, a trial's way from slot to record."""

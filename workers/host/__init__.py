"""The process that keeps bases resident: host, residents, rungs, outbox."""

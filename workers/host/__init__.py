"""The process that keeps bases resident: host, work in flight, residents, rungs."""

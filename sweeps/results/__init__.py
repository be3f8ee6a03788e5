"""The files of a sweep on disk: folder, records, lease, inbox, retention, budget."""

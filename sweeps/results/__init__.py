"""What a sweep has on disk: folder, records, lease, inbox, retention, budget."""

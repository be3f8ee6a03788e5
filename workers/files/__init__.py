"""The cache folder, addresses, and files that are fetched."""

"""Measurements that the project's claims rest on; not part of the wheel, not run by pytest."""

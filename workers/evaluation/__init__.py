"""Captions generated, scored, and watched for collapse."""

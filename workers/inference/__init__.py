"""Answers to requests by a trained adapter."""

"""Names on the team's server: roles and ledgers."""

VIEWERS, TRAINERS, PROMOTERS = "viewers", "trainers", "promoters"

LEDGER = "ledger of "
"""Prefix of the names of experiments that hold the ledgers of registered models."""

NOT_YET = "(begun "
"""In the name of an experiment that did not become a ledger."""

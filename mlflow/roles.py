"""Names that the team's server goes by."""

VIEWERS, TRAINERS, PROMOTERS = "viewers", "trainers", "promoters"

LEDGER = "ledger of "
"""How the names of the experiments begin that hold the ledgers of registered models."""

NOT_YET = "(begun "
"""In the name of an experiment that did not become a ledger."""

"""The contract of every base: what a model must keep for its trials to be right.

A check is a function of a `Subject` that returns what it found, and raises `NotPossibleError` for
what this architecture does not offer, or any other error for what is wrong. The tests call the same
functions that ``sweeps check`` does. Run on a tiny stand-in they prove how a model is read, packed
and exported, and nothing of its quality.
"""

from workers.contract.checks import CHECKS, examine
from workers.contract.findings import Finding, NotPossibleError, finding_of, findings
from workers.contract.subject import Subject

__all__ = ["CHECKS", "Finding", "NotPossibleError", "Subject", "examine", "finding_of", "findings"]

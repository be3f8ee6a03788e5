"""Optuna's study: suggesting, reporting, resuming, warm start; Tune's searcher over it."""

"""Optuna's study: what is drawn, reported, resumed, begun warm; Tune's searcher over it."""

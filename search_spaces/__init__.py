"""Search spaces: domains, conditions, rules and presets on Optuna's define-by-run interface."""

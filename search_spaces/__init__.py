"""Search spaces: domains, conditional spaces and presets on Optuna's define-by-run interface."""

"""The driver: the sweep file, the command line, Ray Tune, Optuna, tracking and promotion."""

"""The leaderboard: read, ranked, compared, and as a view of MLflow."""

"""Where users, passwords and tokens belong: in the environment, in no address."""

from collections.abc import Mapping

from sweeps.spec.problems import refused
from workers.files.addresses import refuse_secret

USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
"""Variables from which MLflow's client takes who it is."""

INSTEAD = (
    f"user and password belong in the environment, as {USER} and {PASSWORD} (a database's as its "
    "client takes them, such as PGPASSWORD), and a token as MLFLOW_TRACKING_TOKEN"
)
"""Where the secrets of an address of MLflow's belong."""

ADDRESSES = {
    "MLFLOW_TRACKING_URI": INSTEAD,
    "MLFLOW_REGISTRY_URI": INSTEAD,
    "RAY_ADDRESS": "Ray's token belongs in the environment, as RAY_AUTH_TOKEN",
    "RAY_API_SERVER_ADDRESS": "Ray's token belongs in the environment, as RAY_AUTH_TOKEN",
}
"""Variables with addresses that libraries read and print -> where a secret of theirs belongs."""


def refuse_secrets(environ: Mapping[str, str]) -> None:
    """Raise `RefusedError` for an address with a secret in one of `ADDRESSES`."""
    with refused():
        for name, instead in ADDRESSES.items():
            refuse_secret(name, environ.get(name, ""), instead)

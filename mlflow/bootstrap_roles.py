"""Makes the roles and users of the team's server; run again, it adds what is missing.

    bootstrap_roles.py --trainer ann --promoter bob --viewer eve --share my-captions

MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD name the server and an
admin. A new user gets the password that a line ``NAME PASSWORD`` on standard input gives with
``--stdin``, or a random one that is printed, once. An existing user keeps the password and has
afterwards, of the three roles, the one that is named.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.server import get_app_client
from roles import LEDGER, PROMOTERS, TRAINERS, VIEWERS

GRANTS = {
    VIEWERS: {"experiment": "READ", "registered_model": "READ"},
    # A trainer owns the experiments that they make, but not the files of the models in them:
    # those are what a promoter puts in service.
    TRAINERS: {"experiment": "READ", "registered_model": "READ", "logged_model": "READ"},
    PROMOTERS: {"experiment": "EDIT", "registered_model": "EDIT", "logged_model": "EDIT"},
}
"""Role -> kind of resource -> what the role may do with all of that kind."""

_WORKSPACE = "default"


def main() -> None:
    """Do what the arguments say; ends with 1 and a sentence where the server refuses."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for role in GRANTS:
        parser.add_argument(f"--{role[:-1]}", dest=role, action="append", default=[])
    parser.add_argument(
        "--share", action="append", default=[], help="An experiment that all trainers write to."
    )
    parser.add_argument("--stdin", action="store_true", help="Read lines NAME PASSWORD.")
    arguments = parser.parse_args()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    try:
        team = get_app_client("basic-auth", tracking_uri=uri)
        given = dict(line.split(maxsplit=1) for line in sys.stdin) if arguments.stdin else {}
        roles = _make_roles(team)
        for role in GRANTS:
            for name in getattr(arguments, role):
                _make_user(team, name, given.get(name, "").strip())
                _assign(team, name, role, roles)
        for experiment in arguments.share:
            _share(team, MlflowClient(uri, uri), experiment, roles[TRAINERS])
    except (MlflowException, ValueError) as error:
        place = "the server of MLFLOW_TRACKING_URI" if uri else "MLFLOW_TRACKING_URI is not set"
        sys.exit(f"error: {place}: {error}")  # not its value, which may hold a password


def _make_roles(team: Any) -> dict[str, int]:
    """Make what is missing of the roles and set their grants; return name -> id."""
    roles = {role.name: role.id for role in team.list_roles(_WORKSPACE)}
    for name, grants in GRANTS.items():
        if name not in roles:
            roles[name] = team.create_role(_WORKSPACE, name).id
            print(f"role {name} made")
        for kind, level in grants.items():
            _grant(team, roles[name], kind, "*", level)
    return roles


def _grant(team: Any, role: int, kind: str, pattern: str, level: str) -> None:
    for found in team.list_role_permissions(role):
        if (found.resource_type, found.resource_pattern) == (kind, pattern):
            if found.permission != level:
                team.update_role_permission(found.id, level)
            return
    team.add_role_permission(role, kind, pattern, level)


def _make_user(team: Any, name: str, given: str) -> None:
    try:
        team.get_user(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        password = given or secrets.token_urlsafe(18)
        team.create_user(name, password)
        print(f"user {name} made" + ("" if given else f", password {password}"))


def _assign(team: Any, name: str, role: str, roles: Mapping[str, int]) -> None:
    has = {found.name for found in team.list_user_roles(name)}
    for other in has & GRANTS.keys() - {role}:
        team.unassign_role(name, roles[other])
    if role not in has:
        team.assign_role(name, roles[role])
    print(f"{name} is in {role}")


def _share(team: Any, client: MlflowClient, experiment: str, trainers: int) -> None:
    if experiment.startswith(LEDGER):
        raise ValueError(f"--share must not name a ledger, which promoters write, got {experiment}")
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment)
    _grant(team, trainers, "experiment", experiment_id, "EDIT")
    print(f"all trainers write to the experiment {experiment}")


if __name__ == "__main__":
    main()

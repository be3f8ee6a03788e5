"""Who may create what on the team's server, which MLflow's roles cannot say.

MLflow gives whoever creates an experiment or a registered model all rights to it, and lets every
user create both. A viewer would thereby write, and a trainer could own a model's name or its
ledger before a promoter does. MLflow calls `authorize` for each request, as `basic_auth.ini` says.
"""

from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import CreateExperiment, UpdateExperiment
from mlflow.server import auth
from mlflow.server.handlers import _get_request_message
from roles import LEDGER, PROMOTERS, TRAINERS

_READING = ("GET", "HEAD", "OPTIONS")
_ADMINS: frozenset[str] = frozenset()


def authorize() -> Any:
    """Return the authorization of MLflow's basic auth, or a response that refuses the request."""
    answer = auth.authenticate_request_basic_auth()
    if not hasattr(answer, "username"):  # a response: name or password are wrong
        return answer
    allowed = _allowed(auth.request)
    if allowed is None or _is_one_of(answer.username, allowed):
        return answer
    return auth.make_forbidden_response()


def _allowed(request: Any) -> frozenset[str] | None:
    """Return the roles that may make the request, beside admins; None leaves it to MLflow."""
    path = request.path
    if request.method in _READING:
        return None
    if path.endswith("/experiments/create"):
        return _owners(_get_request_message(CreateExperiment()).name)
    if path.endswith("/experiments/update"):
        return _owners(_get_request_message(UpdateExperiment()).new_name)
    if path.endswith("/registered-models/create"):
        return frozenset({PROMOTERS})
    if "/gateway/" in path or "/mcp-servers" in path:
        return _ADMINS
    return None


def _owners(experiment: str) -> frozenset[str]:
    """Return the roles that may give an experiment this name."""
    return frozenset({PROMOTERS} if experiment.startswith(LEDGER) else {TRAINERS, PROMOTERS})


def _is_one_of(username: str, roles: frozenset[str]) -> bool:
    try:
        user = auth.store.get_user(username)
    except MlflowException:
        return False
    return user.is_admin or any(role.name in roles for role in auth.store.list_user_roles(user.id))

"""Rights to create experiments and models on the team's server, which MLflow's roles lack.

MLflow gives the creator of an experiment or a registered model all rights to it, and lets every
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


def authorize() -> Any:
    """Return the authorization of MLflow's basic auth, or a response that refuses the request."""
    answer = auth.authenticate_request_basic_auth()
    if not hasattr(answer, "username"):  # a response: name or password are wrong
        return answer
    allowed = _allowed(auth.request)
    if allowed is None:
        return answer
    try:
        user = auth.store.get_user(answer.username)
    except MlflowException:
        return auth.make_forbidden_response()
    roles = {role.name for role in auth.store.list_user_roles(user.id)}
    return answer if user.is_admin or roles & allowed else auth.make_forbidden_response()


def _allowed(request: Any) -> set[str] | None:
    """Return the roles that may make the request, beside admins; None leaves it to MLflow."""
    path, experiment = request.path, None
    if request.method in _READING:
        return None
    if path.endswith("/experiments/create"):
        experiment = _get_request_message(CreateExperiment()).name
    elif path.endswith("/experiments/update"):
        experiment = _get_request_message(UpdateExperiment()).new_name
    elif path.endswith("/registered-models/create"):
        return {PROMOTERS}
    elif "/gateway/" in path or "/mcp-servers" in path:
        return set()
    if experiment is None:
        return None
    return {PROMOTERS} if experiment.startswith(LEDGER) else {TRAINERS, PROMOTERS}

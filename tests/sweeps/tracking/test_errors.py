"""What a user reads when MLflow's server refuses a request."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from sweeps.cli import app
from sweeps.doctor import packages
from sweeps.spec import credentials
from sweeps.tracking import errors


@pytest.fixture
def server():
    """Return a function: HTTP status -> address of a server that answers everything with it."""
    servers = []

    def make(status):
        class Answer(BaseHTTPRequestHandler):
            def answer(self):
                self.send_response(status)
                self.end_headers()

            do_GET = do_POST = do_PUT = answer  # noqa: N815

            def log_message(self, *arguments):
                pass

        made = HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        servers.append(made)
        return f"http://127.0.0.1:{made.server_port}"

    yield make
    for made in servers:
        made.shutdown()
        made.server_close()


def raised(act):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        act()
    return caught.value


@pytest.mark.parametrize(
    ("user", "words"),
    [(None, "wants to know who: set"), ("ann", "does not know the user 'ann' with this password")],
)
def test_an_unknown_user_reads_which_variables_count(server, monkeypatch, user, words):
    for name, value in ((credentials.USER, user), (credentials.PASSWORD, user and "secret")):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    address = server(401)
    error = raised(lambda: MlflowClient(address).get_run("1"))
    said = errors.refusal(error)
    assert words in said
    assert f"{credentials.USER} and {credentials.PASSWORD}" in said
    assert "secret" not in said


def test_a_user_without_the_right_reads_what_it_was(server, monkeypatch):
    monkeypatch.setenv(credentials.USER, "eve")
    monkeypatch.setenv(credentials.PASSWORD, "secret")
    address = server(403)
    said = errors.refusal(raised(lambda: MlflowClient(address).create_experiment("x")))
    assert said.startswith("does not let the user 'eve' do this (API request to endpoint ")
    assert "experiments/create" in said


def test_a_refused_file_is_found_below_what_wraps_it(server):
    def upload():
        try:
            requests.put(server(403), data=b"x", timeout=10).raise_for_status()
        except requests.HTTPError as error:
            raise MlflowException("3 files failed") from error

    assert "does not let" in errors.refusal(raised(upload))


@pytest.mark.parametrize("status", [404, 500])
def test_other_answers_are_no_refusal(server, monkeypatch, status):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert errors.refusal(raised(lambda: MlflowClient(server(status)).get_run("1"))) is None
    assert errors.refusal(ValueError("403")) is None


def test_a_refusal_is_raised_with_the_address_and_anything_else_as_it_was(server):
    address = server(401)
    with pytest.raises(PermissionError, match=f"MLflow at {address} "), errors.explained(address):
        MlflowClient(address).get_run("1")
    with pytest.raises(KeyError), errors.explained(address):
        raise KeyError("x")


def test_a_sweep_is_refused_before_anything_is_made(server, monkeypatch, tmp_path, capsys):
    address = server(401)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["sweeps", "run", "quickstart", f"--set=tracking.uri={address}"]
    )
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: MLflow at {address} ")
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_in_any_command_is_a_sentence(server, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server(401))
    monkeypatch.setattr("sys.argv", ["sweeps", "predict", "models:/captioner@champion"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: MLflow's server ")


def test_the_doctor_asks_the_server_that_the_environment_names(server, monkeypatch, tmp_path):
    address = server(401)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    found = packages.tracking(tmp_path)
    assert found.severity == "error"
    assert found.message.startswith(f"MLflow at {address} ")
    assert credentials.PASSWORD in found.message

"""The team's server as `serve.sh` runs it: Debian's Postgres, moto for S3, basic auth."""

import base64
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient

ROOT = Path(__file__).parent.parent.parent
MLFLOW = ROOT / "mlflow"
BUCKET = "team"
USERS = {"ann": "trainer", "al": "trainer", "bob": "promoter", "bea": "promoter", "eve": "viewer"}
SECONDS = 150
"""How long anything here may take on a busy machine."""


@dataclass
class Team:
    """A server that can be started, stopped, killed and asked."""

    folder: Path
    s3: str
    port: int
    passwords: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """What .env would hold, and where this checkout and its Python are."""
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "TEAM_HOME": str(self.folder / "home"),
            "ARTIFACTS": f"s3://{BUCKET}/artifacts",
            "MLFLOW_S3_ENDPOINT_URL": self.s3,
            "AWS_ACCESS_KEY_ID": "key-of-the-store",
            "AWS_SECRET_ACCESS_KEY": self.passwords["store"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "PGPORT": str(self.port + 1),
            "PGPASSWORD": self.passwords["database"],
            "MLFLOW_PORT": str(self.port),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.passwords["admin"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self.passwords["forms"],
        }

    def login(self, name: str) -> dict[str, str]:
        """What a person has in the environment: no key of the database or of the store."""
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": self.passwords[name],
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }

    @contextmanager
    def user(self, name: str) -> Iterator[MlflowClient]:
        """A client of that person, in this process."""
        with pytest.MonkeyPatch.context() as patch:
            for key, value in self.login(name).items():
                patch.setenv(key, value)
            yield MlflowClient()

    def script(self, name: str, *arguments: object, **more: str) -> subprocess.CompletedProcess:
        return run([MLFLOW / name, *arguments], {**self.settings, **more}, self.folder)

    def bootstrap(self, *arguments: str, **more: str) -> subprocess.CompletedProcess:
        """Make roles and users, as the admin."""
        command = [sys.executable, MLFLOW / "bootstrap_roles.py", *arguments]
        return run(command, {**self.settings, **self.login("admin"), **more}, self.folder)

    def sweeps(self, user: str, *arguments: object) -> subprocess.CompletedProcess:
        """Run `sweeps` as that person, in a folder that keeps what Ray leaves, too."""
        mine = {key: self.settings[key] for key in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS")}
        places = {"RAY_TMPDIR": str(self.folder / "ray"), "COLUMNS": "400"}
        code = "from sweeps.cli.app import main; main()"
        environment = {**os.environ, **mine, **places, **self.login(user)}
        return run([sys.executable, "-c", code, *arguments], environment, self.folder)

    def status(self, path: str, user: str | None = None, **headers: str) -> int:
        """The HTTP status of a GET."""
        request = urllib.request.Request(self.address + path, headers=headers)
        if user is not None:
            token = base64.b64encode(f"{user}:{self.passwords[user]}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            return urllib.request.urlopen(request, timeout=30).status
        except urllib.error.HTTPError as error:
            return error.code

    def start(self) -> None:
        with open(self.folder / "server.log", "a") as log:
            self.process = subprocess.Popen(
                [MLFLOW / "serve.sh"], env=self.settings, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        wait_for(self.answers, f"no answer:\n{(self.folder / 'server.log').read_text()[-3000:]}")

    @contextmanager
    def stopped(self, number: int = signal.SIGTERM) -> Iterator[None]:
        """The server is away, and Postgres runs alone."""
        self.end(number)
        yield
        stop = self.script("postgres.sh", "stop")
        assert stop.returncode == 0, stop.stderr
        self.start()

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
        try:
            return self.status("/health") == 200
        except OSError:
            return False

    def end(self, number: int = signal.SIGTERM) -> None:
        """Signal the script alone, and see that what it started ends with it."""
        self.process.send_signal(number)
        self.process.wait(SECONDS)
        for port in (self.port, self.port + 1):
            wait_for(partial(is_free, port), f"port {port} is still held")


def run(command: list, environment: dict, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(part) for part in command], env=environment, cwd=folder,
        capture_output=True, text=True, check=False, timeout=2 * SECONDS,
    )  # fmt: skip


def wait_for(is_so, message: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, message
        time.sleep(0.2)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def two_free_ports() -> int:
    """A free port whose successor is free as well."""
    for port in range(20000 + os.getpid() % 10000, 40000, 2):
        if is_free(port) and is_free(port + 1):
            return port
    raise AssertionError("no free ports")


@pytest.fixture(scope="session")
def store():
    """Address of an S3 store with an empty bucket, and its client."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
        aws_access_key_id="key-of-the-store", aws_secret_access_key="any",
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    yield f"http://{host}:{port}", client
    server.stop()


@pytest.fixture(scope="module")
def team(store):
    """A running server with a user for each name in `USERS`."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        needed = "Postgres must be installed for this test: apt-get install postgresql"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(needed)
    folder = Path(tempfile.mkdtemp(prefix="team-"))
    folder.chmod(0o755)  # as root, Postgres runs as another user
    words = {name: secrets.token_urlsafe(18) for name in ("admin", "forms", "database", "store")}
    server = Team(folder, store[0], two_free_ports(), words)
    try:
        server.start()
        bootstrap(server)
        yield server
    finally:
        if server.process.poll() is None:
            server.end()
        shutil.rmtree(folder, ignore_errors=True)


def bootstrap(team: Team) -> None:
    """Make roles and users; their passwords are those that are printed."""
    named = [part for name, role in USERS.items() for part in (f"--{role}", name)]
    done = team.bootstrap(*named, "--share", "shared")
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if ", password " in line:
            user, _, password = line.removeprefix("user ").partition(" made, password ")
            team.passwords[user] = password
    assert USERS.keys() <= team.passwords.keys()

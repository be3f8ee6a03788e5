"""A real object store on loopback: moto's server, reached through the environment."""

import os
import secrets

import pytest

from workers.files import cache


@pytest.fixture(scope="session")
def endpoint():
    """Address of an S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def keys(monkeypatch, endpoint, tmp_path):
    """The environment of a node: the way to the store, and a cache folder of the test's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def client(endpoint, keys):
    """The store as somebody else sees it."""
    import boto3

    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")


@pytest.fixture
def address(client):
    """Address below a new bucket."""
    bucket = f"sweeps-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/of/a/team"

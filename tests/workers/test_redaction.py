"""What is secret, and that it is hidden wherever it stands in a text."""

import io
import logging
import random
import time

import pytest

from workers.redaction import has_secret, is_secret, redact, redacted, secret_values

SECRET_NAMES = """
    token password HF_TOKEN PGPASSWORD MYSQL_PWD AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID
    AWS_SESSION_TOKEN RAY_AUTH_TOKEN MLFLOW_FLASK_SERVER_SECRET_KEY OPENAI_API_KEY DEPLOY_KEY
    secret_key client_secret private_key connection_string AccountKey AWSAccessKeyId apiKey
    accessToken
    X-Amz-Signature X-Amz-Credential X-Amz-Security-Token sig auth secret%5Fkey tracking.password
"""
ORDINARY_NAMES = """
    tokenizer max_new_tokens tokens pad_token eos_token_id key keys author monkey compass bypass
    design secretary public_key viewStateShareKey AWS_REGION PWD OLDPWD RAY_AUTH_MODE
    RAY_AUTH_TOKEN_PATH TOKENIZERS_PARALLELISM SSH_AUTH_SOCK AWS_ENDPOINT_URL password_file uri
"""
HIDDEN = {
    "http://me:pw@host/x": "http://***@host/x",
    "http://me:two words@host": "http://***@host",
    "http://token@host": "http://***@host",
    "http://:pw@host": "http://***@host",
    "http://me:p%40w@host": "http://***@host",
    "postgresql+psycopg2://me:p@s/s#w?d@host/db": "postgresql+psycopg2://***@host/db",
    "mysql://me:12/34@host/db": "mysql://***@host/db",
    "s3://key:sec/ret@bucket": "s3://***@bucket",
    "hf://me:pw@datasets/a/b": "hf://***@datasets/a/b",
    "http://a:b@c,http://d:e@f and https://g/h": "http://***@c,http://***@f and https://g/h",
    "mysql://host/db?password=pw&x=1": "mysql://host/db?password=***&x=1",
    "s3://b/x?secret_key=abc&region=eu": "s3://b/x?secret_key=***&region=eu",
    "/a?next=/b?token=abc": "/a?next=/b?token=***",
    "https://h/?X-Amz-Credential=a%2Fb&X-Amz-Signature=ff&X-Amz-Date=1": "https://h/?X-Amz-Credential=***&X-Amz-Signature=***&X-Amz-Date=1",
    "Authorization: Bearer abc.def": "Authorization: ***",
    "{'Authorization': 'Basic bWU6cHc='}": "{'Authorization': '***'}",
    "login(token=abc, name=me)": "login(token=***, name=me)",
    '{"api_key": "a b", "n": 1}': '{"api_key": "***", "n": 1}',
    '{"error": "token=\\"abc\\", x"}': '{"error": "token=\\"***\\", x"}',
    '"{\\"password\\": \\"abc\\"}"': '"{\\"password\\": \\"***\\"}"',
    '{"token": "cut off': '{"token": "***',
    "{'token': 12345, 'n': (1, 2)}": "{'token': ***, 'n': (1, 2)}",
    "sent hf_abcdefghijklmnopqrst and AKIAIOSFODNN7EXAMPLE.": "sent *** and ***.",
    "ghp_0123456789abcdefghij sk-proj-0123456789abcdefghij": "*** ***",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- x": "*** x",
}
KEPT = """
    postgresql://me:${STUDY_PASSWORD}@host/db
    postgresql://me@host/db
    mysql://host/db?password=${STUDY_PASSWORD}&x=1
    sqlite:////folder/me@host.db
    abfss://container@account.dfs.core.windows.net/x
    hdfs://me@node:8020/x
    see ray://head:10001, ask me@x.org
    decoder_start_token=5 seconds_per_token=0.3
    hf://datasets/org/name@main/file
    git+https://github.com/org/name@v1
    http://host:8000/cat@2x.jpg
    http://[::1]:5000/a@b
    s3://bucket/path?region=eu
    set MLFLOW_TRACKING_PASSWORD in the environment, as in STUDY_PASSWORD=... sweeps run FILE
    Bearer authentication is needed
    sk-learn-is-a-long-name-of-a-package
    token=None, token=${HF_TOKEN}, {"token": null}
    nothing answers at http://127.0.0.1:5000, ask ops@example.org
    nothing answers at http://127.0.0.1:5000. Ask ops@example.org
    nothing answers at http://127.0.0.1:5000/a b, ask ops@example.org
    {"~/.ray/auth_token": "~/.ray/auth_token"}
    http://host/#/experiments?viewStateShareKey=abc&pageToken=abc
""".strip().splitlines()


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ORDINARY_NAMES.split())
def test_ordinary_names(name):
    assert not is_secret(name)


@pytest.mark.parametrize("text", HIDDEN)
def test_secrets_are_hidden_once(text):
    assert redact(text) == HIDDEN[text]
    assert redact(HIDDEN[text]) == HIDDEN[text]
    assert has_secret(text)


@pytest.mark.parametrize("text", map(str.strip, KEPT))
def test_what_is_no_secret_stays(text):
    assert redact(text) == text
    assert not has_secret(text)


def test_secrets_of_the_environment_are_hidden_as_values(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "plain words/of a token")
    monkeypatch.setenv("SHORT_TOKEN", "no")
    assert redact("no: plain words/of a token") == "no: ***"
    assert redact("?q=plain%20words%2Fof%20a%20token") == "?q=***"


def test_values_that_are_found_are_long_and_the_longest_come_first():
    environ = {"A_TOKEN": "12345678", "B_SECRET": "123456789", "C_PWD": "1234567", "D": "12345678"}
    assert secret_values(environ) == ["123456789", "12345678"]


def test_hiding_twice_is_hiding_once():
    draw = random.Random(0)
    pieces = [
        *HIDDEN,
        "://",
        ":",
        "@",
        "/",
        "token=",
        "'",
        '"',
        ",",
        " ",
        "?",
        "&",
        "***",
        "a1",
        ".",
    ]
    for _ in range(5000):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 12)))
        once = redact(text)
        assert redact(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "://",
        "http://u:",
        "@",
        "a=",
        "token=",
        "token='",
        'token=\\"',
        '"key\\": ',
        "sk-",
        "a.b-",
        "Bearer ",
        "x://a:b/",
    ],
)
def test_long_text_takes_linear_time(piece):
    text = piece * (200_000 // len(piece))
    begin = time.process_time()
    redact(text)
    assert time.process_time() - begin < 5.0  # quadratic time takes minutes


def test_a_stream_that_was_closed_before_python_began_stays_none():
    assert redacted(None) is None


def test_a_stream_writes_without_secrets_and_is_else_the_same():
    stream = io.StringIO()
    guarded = redacted(stream)
    assert redacted(guarded) is guarded
    handler = logging.StreamHandler(guarded)
    handler.handle(logging.makeLogRecord({"msg": "at %s", "args": ("http://me:pw@host",)}))
    guarded.writelines(["token=abc\n"])
    print("Bearer abcdefgh0123", file=guarded)
    assert stream.getvalue() == "at http://***@host\ntoken=***\n***\n"
    assert not guarded.isatty()

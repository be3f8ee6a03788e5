import pytest

from sweeps.jobs import environment


def test_a_job_has_time_to_stop_and_what_was_given(sweep):
    own = {"HF_HUB_OFFLINE": "1", "HF_TOKEN": "hush", "HOME": "/somewhere"}
    assert environment.sent(["HF_HOME=/shared/hf=1"], own) == {
        "RAY_JOB_STOP_WAIT_TIME_S": "30",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": "/shared/hf=1",
    }


@pytest.mark.parametrize(
    "secret",
    [
        "MLFLOW_TRACKING_PASSWORD=hush",
        "HF_TOKEN=hush",
        "aws_secret_access_key=hush",
        "OPENAI_API_KEY=hush",
        "STUDY=postgresql://me:hush@host/db",
    ],
)
def test_no_secret_is_sent_or_repeated(secret):
    with pytest.raises(ValueError, match="must not be a secret") as said:
        environment.sent([secret], {})
    assert "hush" not in str(said.value)


@pytest.mark.parametrize("broken", ["HF_HOME", "=x", "A B=x"])
def test_what_is_no_assignment_is_refused(broken):
    with pytest.raises(ValueError, match="must look like HF_HOME=/shared/hf"):
        environment.sent([broken], {})


def test_secrets_that_the_nodes_need_are_named(sweep):
    own = {"MLFLOW_TRACKING_PASSWORD": "hush", "HF_TOKEN": "hush"}
    plain = sweep()
    assert environment.missing(plain, {}) == []
    assert environment.missing(plain, own) == ["HF_TOKEN"]
    server = sweep("tracking.uri=https://mlflow.example")
    assert environment.missing(server, own) == ["MLFLOW_TRACKING_PASSWORD", "HF_TOKEN"]
    shared = sweep("search.storage=postgresql://me:${STUDY_PASSWORD}@host/db")
    assert environment.missing(shared, {}) == ["STUDY_PASSWORD"]

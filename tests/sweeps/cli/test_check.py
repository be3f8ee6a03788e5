"""``sweeps check``: whether a base works, before anything is paid for."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from workers.contract import CHECKS


@pytest.fixture
def copy(checkpoints, tmp_path):
    """A checkpoint's small files alone."""
    return shutil.copytree(
        checkpoints("qwen2_5_vl"), tmp_path / "mine", ignore=shutil.ignore_patterns("*.safetensors")
    )


def test_small_files_are_enough(sweeps, copy):
    code, out, _ = sweeps("check", "--model", str(copy))
    assert code == 0
    assert "works: " in out
    assert all(name in out for name in CHECKS)
    assert "<|im_end|>" in out  # the prompt is shown


def test_machines_read_the_same(sweeps, copy):
    code, out, _ = sweeps("check", "--model", str(copy), "--targets", "text", "--json")
    printed = json.loads(out)
    assert (code, printed["works"], printed["model"]) == (0, True, str(copy))
    checks = {each["check"]: each for each in printed["checks"]}
    assert [*checks] == ["stand-in", "loads", *CHECKS]
    assert {each["outcome"] for each in checks.values()} <= {"passed", "not possible"}
    assert checks["targets"]["detail"] == "layers: text 2"


def test_a_model_that_does_not_work_fails_with_the_reason(sweeps, copy):
    generation = copy / "generation_config.json"
    generation.write_text(json.dumps(json.loads(generation.read_text()) | {"eos_token_id": 7}))
    code, out, _ = sweeps("check", "--model", str(copy), "--json")
    failed = [each for each in json.loads(out)["checks"] if each["outcome"] == "failed"]
    assert code == 1
    assert [each["check"] for each in failed] == ["prompt and target"]
    assert "generation_config.eos_token_id lacks it" in failed[0]["detail"]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("config.json", '{"model_type": "bert"}', "model.base is of type 'bert'"),
        ("processor_config.json", None, "processor"),
    ],
)
def test_what_cannot_be_loaded_is_one_finding(sweeps, copy, file, text, expected):
    if text is None:
        (copy / file).unlink()
    else:
        (copy / file).write_text(text)
    code, out, _ = sweeps("check", "--model", str(copy), "--json")
    (only,) = json.loads(out)["checks"]
    assert (code, only["check"], only["outcome"]) == (1, "stand-in", "failed")
    assert expected in only["detail"]


REFUSALS = {
    "gated": (403, "GatedRepo"),
    "nowhere": (404, "RepoNotFound"),
    "old": (404, "RevisionNotFound"),
}
"""Name -> status and reason of the hub."""


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for models that it does not give away."""

    def do_GET(self):
        name = next((name for name in REFUSALS if f"/{name}" in self.path), "nowhere")
        code, reason = REFUSALS[name]
        self.send_response(code)
        self.send_header("X-Error-Code", reason)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["someone/gated"], "is gated: accept its licence at https://huggingface.co/someone/gated"),
        (["someone/nowhere"], "the hub has no model 'someone/nowhere' that you may see"),
        (["someone/old", "--revision", "v9"], "model.revision must be a commit"),
        (["not/a/folder"], "got 'not/a/folder'"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence_that_says_what_to_do(
    sweeps, monkeypatch, arguments, expected
):
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
    try:
        code, out, err = sweeps("check", "--model", *arguments)
    finally:
        hub.shutdown()
    assert (code, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1


def test_offline_it_says_what_to_fetch(sweeps, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, _, err = sweeps("check", "--model", "someone/model")
    assert code == 2
    assert "hf download someone/model --include" in err

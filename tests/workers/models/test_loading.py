"""Bases that cannot be loaded: which field is wrong, and why; and the identity of a base."""

import json
import shutil
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch

from workers import data
from workers.encoding.collation import on_device
from workers.models.loading import identity, load_base, precision_on
from workers.recipe import Data, Model
from workers.training.loop import Examples

CPU = torch.device("cpu")


def load(base, revision=None):
    return load_base(Model(base=str(base), revision=revision), "none", CPU)


@pytest.fixture
def copy(untrained_base, tmp_path):
    """A checkpoint of its own to be broken."""
    return shutil.copytree(untrained_base, tmp_path / "copy")


def test_a_folder_without_processor_is_refused(copy):
    (copy / "processor_config.json").unlink()
    with pytest.raises(ValueError, match=r"model\.base: .*processor.*processor_config\.json"):
        load(copy)


def test_a_folder_without_tokenizer_is_refused(copy):
    """transformers would go on with a tokenizer that knows a handful of tokens."""
    for file in copy.glob("*token*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"model\.base: the tokenizer .* are missing"):
        load(copy)


def test_a_processor_of_the_hubs_older_form_is_enough(copy):
    """Published checkpoints have preprocessor_config.json instead of processor_config.json."""
    own = json.loads((copy / "processor_config.json").read_text())
    (copy / "processor_config.json").unlink()
    older = own["image_processor"] | {"processor_class": "GitProcessor"}
    (copy / "preprocessor_config.json").write_text(json.dumps(older))
    assert load(copy).processor.image_processor.size == {"height": 32, "width": 32}


def test_a_folder_without_config_is_refused(copy):
    (copy / "config.json").unlink()
    with pytest.raises(ValueError, match=r"model\.base"):
        load(copy)


@pytest.mark.parametrize("model_type", ["llama", "never-heard-of"])
def test_other_architectures_are_refused_with_those_that_work(copy, model_type):
    (copy / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(ValueError, match=rf"model\.base.*{model_type}.*blip-2, git, paligemma"):
        load(copy)


def test_a_folder_has_no_revisions(untrained_base):
    with pytest.raises(ValueError, match=r"model\.revision must be null .* got 'v2'"):
        load(untrained_base, "v2")


def test_a_hub_name_while_offline_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"model\.base: no checkpoint at 'someone/model'.*offline"):
        load("someone/model")


class Refusing(BaseHTTPRequestHandler):
    """Answers as the hub does for a model without this revision, or a gated one."""

    def do_HEAD(self):
        gated = "/gated/" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RevisionNotFound")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    yield url
    server.shutdown()


def test_a_revision_that_does_not_exist_is_named(hub):
    with pytest.raises(ValueError, match=r"model\.revision must be a commit.*got 'no-such'"):
        load("someone/model", "no-such")


def test_a_gated_model_is_told_with_its_mend(hub):
    with pytest.raises(ValueError, match=r"model\.base: 'gated/model' is gated: accept .*HF_TOKEN"):
        load("gated/model")


@pytest.mark.parametrize(
    ("variant", "part", "field"),
    [
        ("git", (), "hidden_dropout_prob"),
        ("blip2-opt", ("text_config",), "dropout"),
        ("blip2-t5", ("text_config",), "dropout_rate"),
        ("blip2-opt", ("qformer_config",), "attention_probs_dropout_prob"),
    ],
)
def test_a_frozen_base_is_the_same_in_training_as_in_use(
    checkpoints, tmp_path, variant, part, field
):
    folder = shutil.copytree(checkpoints(variant), tmp_path / "dropping")
    config = json.loads((folder / "config.json").read_text())
    section = config
    for name in part:
        section = section[name]
    section[field] = 0.5
    (folder / "config.json").write_text(json.dumps(config))
    base = load(folder)
    samples = data.load(Data(source="shapes", limit=12)).splits["train"]
    batch = on_device(base, Examples.of(base, samples).batch(base, [0, 1]))
    with torch.no_grad():
        used = float(base.model.eval()(**batch).loss)
        trained = [float(base.model.train()(**batch).loss) for _ in range(2)]
    assert trained[0] == trained[1]
    assert trained[0] == pytest.approx(used, abs=1e-6)


def test_a_copied_folder_is_the_same_base(untrained_base, copy):
    assert identity(Model(base=str(copy))) == identity(Model(base=str(untrained_base)))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_changed_byte_of_weights_or_config_is_another_base(untrained_base, copy, file):
    text = bytearray((copy / file).read_bytes())
    text[-1] ^= 1
    (copy / file).write_bytes(text)
    assert identity(Model(base=str(copy))) != identity(Model(base=str(untrained_base)))


def test_what_computes_nothing_does_not_count(untrained_base, copy):
    (copy / "README.md").write_text("a note")
    assert identity(Model(base=str(copy))) == identity(Model(base=str(untrained_base)))


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_is_float16_on_a_gpu_without_bfloat16(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert precision_on(torch.device("cuda:0"), "auto") == expected
    assert precision_on(torch.device("cuda:0"), "float32") == torch.float32
    assert precision_on(CPU, "auto") == torch.float32

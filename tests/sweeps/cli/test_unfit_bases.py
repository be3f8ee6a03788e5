"""What cannot work with a base is said by ``sweeps plan``, and by ``run`` before it starts."""

import json
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from workers.tiny.architectures import build

FIXED = ("--set", "search.space={train.learning_rate: {log_uniform: [1e-5, 1e-2]}}")
"""A space without targets."""


@pytest.fixture
def copy(untrained_base, tmp_path):
    """Folder of a checkpoint that a test may damage."""
    return shutil.copytree(untrained_base, tmp_path / "copy")


def config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def truncate(folder, size):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])


def shard(folder):
    parts = {name: f"model-0000{n}-of-00002.safetensors" for n, name in enumerate("ab", 1)}
    (folder / "model.safetensors").rename(folder / parts["a"])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


def only(folder, kept):
    for file in folder.iterdir():
        if file.name not in kept:
            file.unlink()


DAMAGE = {
    "nothing in it": (lambda it: only(it, ()), "copy has no config.json; it must be a folder"),
    "a config alone": (
        lambda it: only(it, ("config.json",)),
        "copy has no processor for images: processor_config.json or preprocessor_config.json is m",
    ),
    "a config of no JSON": (
        lambda it: (it / "config.json").write_text('{"model_type": "git",'),
        "copy/config.json is no JSON (Expecting",
    ),
    "a config of a list": (
        lambda it: (it / "config.json").write_text("[]"), "copy/config.json must be a JSON object",
    ),
    "a config without a type": (
        lambda it: config(it, model_type=None),
        "copy/config.json must name the architecture as model_type, such as 'git', and has None",
    ),
    "a type that sees nothing": (lambda it: config(it, model_type="bert"), "is of type 'bert'; su"),
    "a type that nobody knows": (lambda it: config(it, model_type="own"), "is of type 'own'; supp"),
    "an impossible size": (
        lambda it: ((it / "model.safetensors").unlink(), config(it, hidden_size=33)),
        "no model can be made of",
    ),
    "a size of letters": (
        lambda it: ((it / "model.safetensors").unlink(), config(it, hidden_size="many")),
        "no model can be made of",
    ),
    "a header that is cut": (lambda it: truncate(it, 500), "model.safetensors has no safetensors"),
    "weights that are cut": (
        lambda it: truncate(it, -64), "copy/model.safetensors is cut off: 73",
    ),
    "a missing shard": (shard, "lacks model-00002-of-00002.safetensors, one of 1 missing of 2 fil"),
    "no tokenizer": (
        lambda it: (it / "tokenizer.json").unlink(),
        "copy has no processor for texts: tokenizer.json or tokenizer.model is missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_a_base_that_cannot_be_loaded_is_told_in_one_sentence(sweeps, copy, damage, said):
    damage(copy)
    code, _, err = sweeps("plan", "quickstart", "--set", f"model.base={copy}")
    assert code == 2
    assert err.startswith("error: model.base")
    assert said in " ".join(err.split())
    assert len(err.splitlines()) == 1


def test_the_small_files_of_a_base_are_enough_for_a_plan(sweeps, copy):
    (copy / "model.safetensors").unlink()
    code, out, err = sweeps("plan", "quickstart", "--set", f"model.base={copy}")
    assert (code, err) == (0, "")
    assert "weights, by its config: they are not on this machine" in out
    assert "together" in out


UNFIT = {
    "a slip in a path": (
        r"adapter.targets=re:git\.encoder\.layer\.\d+\.attention\.self\.qery",
        "such as 'git.encoder.layer.0.attention.self.query', ",
    ),
    "a block": (
        r"adapter.targets=re:git\.encoder\.layer\.0", "it matches 'git.encoder.layer.0'",
    ),
    "no module": ("adapter.trained_modules=[git.vision]", "closest are 'git.visual_projection'"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(("setting", "said"), UNFIT.values(), ids=UNFIT)
def test_what_the_base_does_not_have_is_refused_before_anything_starts(
    sweeps, untrained_base, tmp_path, command, setting, said
):
    base = ("--set", f"model.base={untrained_base}", *FIXED)
    code, _, err = sweeps(command, "quickstart", *base, "--set", setting)
    assert code == 2
    assert setting.partition("=")[0] in err
    assert said in err
    assert not (tmp_path / "sweep-results").exists()


def test_targets_that_only_one_of_two_bases_has_are_no_fault(sweeps, checkpoints):
    bases = f"[{checkpoints('git')}, {checkpoints('paligemma')}]"
    space = f"search.space={{model.base: {{choice: {bases}}}}}"
    targets = r"adapter.targets=re:git\.encoder.*(query|value)"
    code, out, _ = sweeps("plan", "quickstart", "--set", space, "--set", targets)
    assert code == 0
    assert "it matches nothing" in out


def test_a_head_that_shares_its_weight_is_named(sweeps, checkpoints):
    base = ("--set", f"model.base={checkpoints('paligemma')}", *FIXED)
    head = r"adapter.targets=re:lm_head|model\.language_model.*\.q_proj"
    code, out, _ = sweeps("plan", "quickstart", *base, "--set", head)
    assert code == 0
    assert "lm_head share one weight" in out
    assert "share one weight" not in sweeps("plan", "quickstart", *base)[1]


@pytest.mark.parametrize(("positions", "said"), [(32, "of at most 31 tokens"), (192, "of up to")])
def test_a_plan_says_how_long_captions_can_be(sweeps, untrained_base, endless_git, positions, said):
    base = endless_git if positions == 32 else untrained_base
    settings = ("--set", f"model.base={base}", "--set", "evaluate.max_new_tokens=40")
    _, out, _ = sweeps("plan", "quickstart", *settings)
    (line,) = [line for line in out.splitlines() if line.startswith("positions")]
    assert said in line
    assert f"of {positions} positions" in line


def test_experts_that_no_trial_trains_are_said(sweeps, tmp_path):
    build("qwen3_vl_moe", tmp_path / "moe")
    code, out, _ = sweeps("plan", "quickstart", "--set", f"model.base={tmp_path / 'moe'}")
    assert code == 0
    assert "of the weights, which stay as they are: target sets have attention" in out


class RefusingHub(BaseHTTPRequestHandler):
    """A model hub that has no model for this user, and says why as the real one does."""

    def do_GET(self):
        said = {"gated": (403, "GatedRepo"), "missing": (404, "RepoNotFound")}
        found = [own for name, own in said.items() if f"some/{name}" in self.path]
        status, why = found[0] if found else (503, "")
        self.send_response(status)
        self.send_header("X-Error-Code", why)
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815  as the server calls it

    def log_message(self, *_):
        """Nothing is to be printed."""


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), RefusingHub)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("command", [("plan",), ("run",), ("run", "--rehearse")])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gated", "'some/gated' is gated: accept its licence at https://huggingface.co/some/gated"),
        ("missing", "the hub has no model 'some/missing' that you may see: look at the spelling"),
    ],
)
def test_a_model_of_the_hub_that_cannot_be_had_is_refused(
    sweeps, hub, tmp_path, command, name, said
):
    code, _, err = sweeps(*command, "quickstart", "--set", f"model.base=some/{name}")
    assert code == 2
    assert err.startswith(f"error: model.base: {said}")
    assert not (tmp_path / "sweep-results").exists()


def test_a_hub_that_does_not_answer_ends_no_plan(sweeps, hub):
    code, out, _ = sweeps("plan", "quickstart", "--set", "model.base=some/git-base")
    assert code == 0
    assert "not on this machine" in out

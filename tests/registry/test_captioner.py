"""The registered captioner: loaded and asked as anybody would, with plain mlflow."""

import base64
import importlib.util
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import scoring_server
from PIL import Image
from safetensors.torch import load_file, save_file

from sweeps.promotion import registry
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial
from workers.evaluation.generation import generate
from workers.families.prompts import Prompt, PromptBuilder
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Recipe

NAME = "shapes-captioner"

LOAD_AND_ASK = """
import json, sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/shapes-captioner@champion")
print(json.dumps(model.predict(json.load(sys.stdin))))
"""


def encoded(image, form="PNG"):
    file = io.BytesIO()
    image.save(file, form)
    return base64.b64encode(file.getvalue()).decode()


def image(color="red", size=(40, 30)):
    return Image.new("RGB", size, color)


@pytest.fixture(scope="module")
def registered(tmp_path_factory, untrained_base):
    """A sweep with one finished trial, whose adapter is registered; with its captions."""
    root = tmp_path_factory.mktemp("registry")
    tracking = Tracking(uri=None, experiment="shapes", root=root / "sweep-results")
    recipe = Recipe.model_validate(
        {
            "model": {"base": str(untrained_base)},
            "data": {"source": "shapes"},
            "quantization": "int8",
            "evaluate": {"final_beams": 2},
        }
    )
    adapted = AdaptedBase(load_base(recipe.model, "int8", torch.device("cpu")))
    adapted.attach("trial", recipe.adapter, seed=1)
    with torch.no_grad():  # a new adapter changes nothing
        for parameter in adapted.parameters("trial"):
            parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(1))
    adapted.save("trial", root / "adapter", recipe.model.base)

    sweep = SweepRun.open(tracking, "shapes-1", "name: shapes\n", {})
    began = {"train.learning_rate": 1e-2, "swept": "before"}  # before it took over another state
    trial = PublishedTrial.open(
        sweep, "trial-000", "trial-000",
        params=began, logarithmic=["train.learning_rate"], tags={},
    )  # fmt: skip
    trial.best({"val/cider": 1.5}, 3)
    sweep.close_trial("trial-000", "completed")
    version = registry.register(
        tracking, trial.run_id, root / "adapter", recipe, NAME, tags={"sweep.id": "shapes-1"}
    )
    tracking.client().set_registered_model_alias(NAME, registry.CHAMPION, str(version))
    return tracking, trial.run_id, version, adapted, recipe, root / "adapter"


@pytest.fixture(scope="module")
def loaded(registered):
    tracking = registered[0]
    mlflow.set_tracking_uri(tracking.address)
    yield mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def server(loaded):
    from fastapi.testclient import TestClient

    return TestClient(scoring_server.init(loaded))


def expected(adapted, pictures, tokens):
    base = adapted.base
    images = [base.family.encode(base, picture) for picture in pictures]
    prompts = [PromptBuilder().build(base.family, None, "picture")] * len(pictures)
    return generate(base, adapted.model.eval(), images, prompts, beams=2, max_new_tokens=tokens)


def test_a_fresh_process_elsewhere_loads_the_champion_and_captions(registered, tmp_path):
    tracking, _, _, adapted, _, _ = registered
    pictures = [image("red"), image("navy", (20, 60))]
    requests = [{"image": encoded(picture), "max_new_tokens": 6} for picture in pictures]

    answer = subprocess.run(
        [sys.executable, "-c", LOAD_AND_ASK, tracking.address],
        cwd=tmp_path,
        env={"PATH": "", "HOME": str(tmp_path), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        input=json.dumps(requests), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1]) == expected(adapted, pictures, 6)


def test_the_adapter_and_its_beams_are_used(registered, loaded):
    adapted = registered[3]
    picture = image("green")
    with_adapter = expected(adapted, [picture], 8)
    with adapted.model.disable_adapter():
        without = expected(adapted, [picture], 8)

    assert loaded.predict([{"image": encoded(picture), "max_new_tokens": 8}]) == with_adapter
    assert with_adapter != without


def test_requests_of_different_lengths_keep_their_order(registered, loaded):
    adapted = registered[3]
    lengths = [3, 3, 7, 3]
    pictures = [image(color) for color in ("red", "lime", "blue", "white")]
    requests = [
        {"image": encoded(picture, "JPEG" if number else "PNG"), "max_new_tokens": tokens}
        for number, (picture, tokens) in enumerate(zip(pictures, lengths, strict=True))
    ]
    captions = loaded.predict(requests)
    assert len(captions) == 4
    assert captions[0] == expected(adapted, [pictures[0]], 3)[0]
    assert len(captions[2]) > len(captions[3])


def test_the_version_comes_from_the_logged_model(registered):
    tracking, run_id, version, *_ = registered
    client = tracking.client()
    made = client.get_model_version_by_alias(NAME, "champion")
    assert int(made.version) == version
    assert made.source.startswith("models:/m-")
    assert made.tags["sweep.id"] == "shapes-1"

    model = client.get_logged_model(made.source.removeprefix("models:/"))
    assert model.source_run_id == run_id
    assert str(model.status) == "READY"
    assert {metric.key: metric.value for metric in model.metrics} == {
        "best/cider": 1.5, "best/rung": 3.0,
    }  # fmt: skip


def test_a_models_parameters_are_those_of_its_recipe_whatever_its_run_began_with(registered):
    client = registered[0].client()
    made = client.get_model_version(NAME, str(registered[2]))
    model = client.get_logged_model(made.source.removeprefix("models:/"))
    assert model.params == {
        "train.learning_rate": "5e-05", "train.learning_rate_log10": "-4.3010", "swept": "before",
    }  # fmt: skip


def test_registering_leaves_the_run_ended_with_its_history(registered):
    tracking, run_id, *_ = registered
    client = tracking.client()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert [output.model_id[:2] for output in run.outputs.model_outputs] == ["m-"]
    assert len(client.get_metric_history(run_id, "best/cider")) == 1


def test_nothing_stored_is_pickled_and_everything_needed_is_pinned(registered):
    tracking, *_ = registered
    made = tracking.client().get_model_version_by_alias(NAME, "champion")
    folder = next((tracking.root / "artifacts").rglob(made.source.removeprefix("models:/")))
    names = {str(path.relative_to(folder / "artifacts")) for path in folder.rglob("*.*")}

    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".bin", ".pt"))]
    assert names >= {
        "captioner.py", "code/workers/models/loading.py", "artifacts/adapter/adapter_config.json",
    }  # fmt: skip
    pins = (folder / "artifacts" / "requirements.txt").read_text().splitlines()
    assert len(pins) == len(registry.REQUIRED)
    assert all(pin.count("==") == 1 and "+" not in pin and "://" not in pin for pin in pins)


def test_a_model_knows_its_task_its_prompt_and_its_whole_recipe(registered):
    tracking, _, _, _, recipe, _ = registered
    point = {"task": "vqa", "prompt.text": "answer en {question}", "model.max_pixels": 4096}
    config = registry.model_config(recipe.with_point(point))
    assert config["task"] == "vqa"
    assert config["prompt"] == {"system": None, "text": "answer en {question}"}
    assert (config["min_pixels"], config["max_pixels"]) == (None, 4096)
    made = tracking.client().get_model_version_by_alias(NAME, "champion")
    folder = next((tracking.root / "artifacts").rglob(made.source.removeprefix("models:/")))
    stored = Model.load(folder / "artifacts").metadata[registry.RECIPE]
    assert Recipe.model_validate(stored) == recipe


def test_an_adapter_is_registered_once_and_each_is_the_challenger_at_first(registered, tmp_path):
    """No registration touches the champion."""
    tracking, run_id, version, _, recipe, adapter = registered
    client = tracking.client()
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    weights = load_file(other / "adapter_model.safetensors")
    save_file(
        {key: value + 1 for key, value in weights.items()}, other / "adapter_model.safetensors"
    )

    second = registry.register(tracking, run_id, other, recipe, NAME, tags={})
    assert second == version + 1
    assert int(client.get_model_version_by_alias(NAME, "challenger").version) == second
    assert registry.register(tracking, run_id, adapter, recipe, NAME, tags={}) == version
    assert int(client.get_model_version_by_alias(NAME, "challenger").version) == version
    assert int(client.get_model_version_by_alias(NAME, "champion").version) == version
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before

    registry.remove_challenger(tracking, NAME, str(second))  # it no longer is
    assert "challenger" in client.get_registered_model(NAME).aliases
    registry.remove_challenger(tracking, NAME, str(version))
    assert set(client.get_registered_model(NAME).aliases) == {"champion"}


def test_a_folder_without_an_adapter_is_refused(registered, tmp_path):
    tracking, run_id, _, _, recipe, _ = registered
    with pytest.raises(FileNotFoundError, match=r"saved by peft; it has no adapter_config\.json"):
        registry.register(tracking, run_id, tmp_path, recipe, "never", tags={})
    assert not tracking.client().search_registered_models("name = 'never'")


BOMB = Image.new("1", (9000, 9000))
BAD_REQUESTS = {
    "not base64": ({"image": "this is no base64!"}, "must be an image file in base64"),
    "no image": ({"image": base64.b64encode(b"hello" * 99).decode()}, "not an image of a known"),
    "truncated": ({"image": encoded(image())[:100]}, "cannot be decoded"),
    "too many pixels": ({"image": encoded(BOMB)}, "at most 50000000 pixels, got 9000 x 9000"),
    "too long": ({"image": "A" * 28_000_004}, "at most 28000000 characters of base64"),
    "a question": (
        {"image": encoded(image()), "question": "why?"}, "question must be left out",
    ),
    "a path": ({"path": "red.png"}, "path: this server reads no files"),
    "a number": ({"image": 5}, "image must be a string, got a number"),
    "too many tokens": (
        {"image": encoded(image()), "max_new_tokens": 10_000}, "must be from 1 to 256, got 10000",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "reason"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_an_unusable_image_is_refused_in_one_sentence(server, request_, reason):
    good = {"image": encoded(image()), "max_new_tokens": 3}
    answer = server.post("/invocations", json={"inputs": [good, request_]})

    assert answer.status_code == 400
    assert reason in answer.json()["message"]
    assert answer.json()["message"].startswith("inputs[1].")
    assert "stack_trace" not in answer.json()
    assert len(answer.text) < 400
    assert good["image"] not in answer.text


@pytest.mark.parametrize("count", [0, 1000])
def test_a_call_has_some_images_but_not_too_many(server, count):
    good = {"image": encoded(image()), "max_new_tokens": 3}
    answer = server.post("/invocations", json={"inputs": [good] * count})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"inputs must have from 1 to 64 images, got {count}")
    assert "stack_trace" not in answer.json()


def test_the_server_answers_a_good_request(registered, server):
    picture = image("purple")
    request = {"image": encoded(picture), "max_new_tokens": 5}
    answer = server.post("/invocations", json={"inputs": [request]})
    assert answer.status_code == 200
    assert answer.json()["predictions"] == expected(registered[3], [picture], 5)


@pytest.fixture(scope="module")
def captioner():
    """The captioner's file as a module."""
    spec = importlib.util.spec_from_file_location("captioner", registry.captioner_file())
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_model_for_questions_is_asked_them(registered, captioner):
    adapted, recipe, adapter = registered[3:]
    config = registry.model_config(recipe) | {
        "task": "vqa", "prompt": {"system": None, "text": "{question} please"},
    }  # fmt: skip
    model = captioner.CaptionerModel()
    model.load_context(SimpleNamespace(model_config=config, artifacts={"adapter": str(adapter)}))
    request = captioner.CaptionRequest(
        image=encoded(image("red")), max_new_tokens=8, question="a disc?"
    )
    base = adapted.base
    answer = generate(
        base, adapted.model.eval(), [base.family.encode(base, image("red"))],
        [Prompt(system=None, text="a disc? please")], beams=2, max_new_tokens=8,
    )  # fmt: skip
    assert model.predict([request]) == answer
    assert answer != expected(adapted, [image("red")], 8)
    with pytest.raises(captioner.Refusal, match=r"inputs\[0\]\.question must be the question"):
        model.predict([captioner.CaptionRequest(image=encoded(image("red")))])


def test_images_may_be_named_by_path_only_where_a_folder_is_allowed(registered, tmp_path):
    tracking, _, _, adapted, _, _ = registered
    image("red").save(tmp_path / "red.png")
    uri = f"models:/{NAME}@champion"
    mlflow.set_tracking_uri(tracking.address)
    try:
        closed = mlflow.pyfunc.load_model(uri)
        allowed = mlflow.pyfunc.load_model(uri, model_config={"images": str(tmp_path)})
    finally:
        mlflow.set_tracking_uri(None)
    by_path = [{"path": "red.png", "max_new_tokens": 5}]
    assert allowed.predict(by_path) == expected(adapted, [image("red")], 5)
    with pytest.raises(MlflowException, match="this server reads no files"):
        closed.predict(by_path)
    with pytest.raises(MlflowException, match="in the server's image folder"):
        allowed.predict([{"path": "../red.png"}])


def test_a_base_of_the_hub_is_pinned_by_its_commit(registered, tmp_path, monkeypatch):
    recipe, commit = registered[4], "a" * 40
    repository = tmp_path / "models--some--base"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def revision(**model):
        point = {f"model.{field}": value for field, value in model.items()}
        return registry.model_config(recipe.with_point(point))["revision"]

    assert revision(base="some/base") == commit
    assert revision(base="some/base", revision="v1") == "v1"
    assert revision(base="other/base") is None
    assert revision() is None


def test_a_refusal_is_an_mlflow_error_for_callers_in_the_process(loaded):
    with pytest.raises(MlflowException, match=r"inputs\[0\]\.image must be an image file"):
        loaded.predict([{"image": "?"}])

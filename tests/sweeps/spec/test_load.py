import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

import sweeps
from search_spaces.domains import Choice, IntUniform, LogUniform
from search_spaces.presets import lora
from search_spaces.space import Space
from sweeps.spec.load import SpecError, dump, load, located, parse, read, ready_text, recipes
from sweeps.spec.sweep import Promote
from workers.recipe import Data, Model, Recipe

SHORT = """\
name: shapes
model: {base: tiny:shapes}
data: {source: shapes}
"""

FULL = """\
name: pokemon
task: captioning
model: {base: microsoft/git-base, revision: 0a1b2c, dtype: float32}
data: {source: huggingface, path: some/captions, limit: 700,
       split: {train: train.txt, validation: val.txt, test: test.txt}, seed: 3,
       on_bad_sample: skip}
train: {epochs: 4, batch_size: 2, accumulate: 4, learning_rate: 5e-5, warmup: .5e-1,
        decay: cosine, weight_decay: 0, max_grad_norm: null, seed: 7}
adapter: {rank: 16, alpha: 32, dropout: 0.05, targets: text}
quantization: int8
evaluate: {metrics: [bleu, cider], batch_size: 4, limit: 50, beams: 1, final_beams: 3,
           max_new_tokens: 20}
search:
  space:
    adapter.rank: {choice: [4, 8]}
    train.learning_rate: {log_uniform: [1e-5, 1.0E-3]}
    train.warmup: {uniform: [0, 0.2], step: 0.1, when: {quantization: [nf4, int8]}}
    train.epochs: {int_uniform: [1, 4]}
    train.max_grad_norm: {choice: [null, 1.0], when: {adapter.rank: 8}}
    quantization: {choice: [none, int8, nf4]}
  sampler: {name: tpe, seed: null, options: {startup_trials: 4}}
  objective: {metric: bleu_4}
  trials: 32
schedule: {name: asha, grace: 2, reduction: 4}
resources: {hosts: 2, slots: auto}
tracking: {uri: "http://localhost:5000", experiment: mine}
promote: {model: pokemon-captioner, auto: true, margin: 0.01, max_slowdown: 1.2, approval: true}
"""


def test_a_short_file_gets_defaults() -> None:
    sweep = parse(SHORT)
    assert sweep.search.space == lora().space
    assert (sweep.search.sampler.name, sweep.search.sampler.seed) == ("tpe", 0)
    assert (sweep.search.objective.metric, sweep.search.objective.mode) == ("cider", "max")
    assert (sweep.resources.hosts, sweep.resources.slots) == ("auto", "auto")
    assert (sweep.tracking.uri, sweep.tracking.experiment) == (None, "shapes")
    assert sweep.promote is None


def test_the_recipe_of_a_short_file_is_the_default_recipe() -> None:
    recipe = Recipe(model=Model(base="tiny:shapes"), data=Data(source="shapes"))
    assert parse(SHORT).recipe == recipe
    assert type(parse(SHORT).recipe) is Recipe


def test_a_full_file_is_read_as_written() -> None:
    sweep = parse(FULL)
    assert sweep.train.learning_rate == 5e-5
    assert sweep.train.warmup == 0.05
    assert sweep.evaluate.metrics == ("bleu", "cider")
    assert sweep.search.space["train.learning_rate"] == LogUniform(1e-5, 1e-3)
    assert sweep.search.space["train.epochs"] == IntUniform(1, 4)
    assert sweep.search.space["train.max_grad_norm"].when == {"adapter.rank": (8,)}
    assert sweep.search.sampler.options == {"startup_trials": 4}
    assert sweep.tracking.experiment == "mine"
    assert sweep.recipe.data.split.train == "train.txt"
    assert sweep.promote == Promote(
        model="pokemon-captioner", auto=True, margin=0.01, max_slowdown=1.2, approval=True
    )


def test_nothing_is_promoted_without_being_asked() -> None:
    assert not parse(SHORT + "promote: {model: mine}").promote.auto


def test_experiment_defaults_to_the_name_beside_an_address() -> None:
    sweep = parse(SHORT + "tracking: {uri: sqlite:///x.db}")
    assert sweep.tracking.experiment == "shapes"
    assert sweep.tracking.uri == "sqlite:///x.db"


def test_loss_is_minimized_unless_said_otherwise() -> None:
    assert parse(SHORT + "search: {objective: {metric: loss}}").search.objective.mode == "min"


def test_an_int_stands_for_a_float() -> None:
    alpha = parse(SHORT + "adapter: {alpha: 64}").adapter.alpha
    assert alpha == 64
    assert type(alpha) is float


@pytest.mark.parametrize("text", [SHORT, FULL])
def test_dump_reads_back_to_the_same_sweep(text: str) -> None:
    sweep = parse(text)
    again = parse(dump(sweep))
    assert again == sweep
    assert list(again.search.space) == list(sweep.search.space)
    assert dump(again) == dump(sweep)


def test_dump_writes_every_default() -> None:
    written = yaml.safe_load(dump(parse(SHORT)))
    assert next(iter(written)) == "name"
    assert written["train"]["epochs"] == 15
    assert written["search"]["space"]["adapter.rank"] == {"choice": [4, 8, 16, 32]}
    assert written["promote"] is None


@pytest.mark.parametrize("name", ["5e-5", "1e3", "no", "12", "null", "true", "a: b", "#x", "é"])
def test_dump_keeps_texts_that_look_like_something_else(name: str) -> None:
    sweep = parse(SHORT, overrides=[f"tracking.experiment='{name}'"])
    assert sweep.tracking.experiment == name
    assert parse(dump(sweep)) == sweep


def test_a_sweep_is_frozen_and_can_be_pickled() -> None:
    sweep = parse(FULL)
    assert pickle.loads(pickle.dumps(sweep)) == sweep
    with pytest.raises(ValidationError, match="frozen"):
        sweep.name = "other"  # type: ignore[misc]


def test_points_are_put_into_the_recipe() -> None:
    recipe = parse(FULL).with_point({"adapter.rank": 8})
    assert type(recipe) is Recipe
    assert recipe.adapter.rank == 8


def test_load_reads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(FULL)
    assert load(file) == load(str(file)) == parse(FULL)


def overridden(*overrides: str, text: str = SHORT) -> Any:
    return parse(text, overrides=overrides)


def test_overrides_replace_and_add() -> None:
    sweep = overridden("train.epochs=3", "train.learning_rate=1e-4", "quantization=nf4")
    assert (sweep.train.epochs, sweep.train.learning_rate) == (3, 1e-4)
    assert sweep.quantization == "nf4"


def test_the_last_override_wins_over_the_file_and_earlier_ones() -> None:
    sweep = overridden("train.epochs=3", "train={epochs: 5}", "train.epochs=6", text=FULL)
    assert sweep.train.epochs == 6
    assert sweep.train.accumulate == 1


def test_overrides_make_sections_where_there_was_null() -> None:
    assert overridden("promote.model=mine").promote.model == "mine"
    assert overridden("promote=null", text=FULL).promote is None


def test_overrides_change_one_domain() -> None:
    space = overridden("search.space.adapter.rank={choice: [2, 8]}", text=FULL).search.space
    assert space["adapter.rank"] == Choice((2, 8))
    assert list(space) == list(parse(FULL).search.space)


def test_overrides_change_one_domain_of_a_preset() -> None:
    sweep = parse(
        SHORT + "search: {space: qlora}",
        overrides=["search.space.adapter.rank={int_uniform: [4, 8]}"],
    )
    assert sweep.search.space["adapter.rank"] == IntUniform(4, 8)
    assert "quantization" in sweep.search.space


def test_overrides_set_the_whole_space() -> None:
    assert overridden("search.space=lora", text=FULL).search.space == lora().space
    only = overridden("search.space={train.seed: {choice: [1, 2]}}", text=FULL)
    assert only.search.space == Space({"train.seed": Choice((1, 2))})


def test_overrides_mend_a_broken_file() -> None:
    broken = SHORT + "train: {epochs: many}"
    with pytest.raises(SpecError):
        parse(broken)
    assert overridden("train.epochs=2", text=broken).train.epochs == 2


def test_reading_a_sweep_file_imports_nothing_heavy(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(FULL)
    program = (
        "import sys; from sweeps.spec.load import load; load(sys.argv[1]); "
        "print([name for name in ('optuna', 'ray', 'torch', 'mlflow', 'transformers', 'peft', "
        "'numpy', 'PIL') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        capture_output=True, text=True, check=True, cwd=Path(sweeps.__file__).parents[1],
    )  # fmt: skip
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("metric", "mode"), [("loss", "min"), ("cider", "max"), ("word_error_rate", "min")]
)
def test_the_mode_is_the_metric_s_own(metric: str, mode: str) -> None:
    file = f"{SHORT}evaluate: {{metrics: [cider, word_error_rate]}}\n"
    sweep = parse(file + f"search: {{objective: {{metric: {metric}}}}}\n")
    assert sweep.search.objective.mode == mode


def test_target_sets_may_be_a_regular_expression_of_one_s_own() -> None:
    fixed = parse(SHORT + "adapter: {targets: 're:.*query'}")
    assert fixed.adapter.targets == "re:.*query"
    swept = "search: {space: {adapter.targets: {choice: [text, 're:.*query']}}}"
    assert parse(SHORT + swept).search.space["adapter.targets"].contains("re:.*query")


def test_a_file_comes_before_a_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read("quickstart", ()).name == "quickstart"
    (tmp_path / "quickstart").write_text(ready_text("quickstart").replace("quickstart", "mine"))
    assert read("quickstart", ()).name == "mine"


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(FileNotFoundError, match=r"there are .*quickstart.*did you mean quickstart"):
        read("quickstrat", ())
    with pytest.raises(FileNotFoundError, match=r"no file mine/sweep\.yaml"):
        read("mine/sweep.yaml", ())


def test_every_recipe_is_without_problems():
    for name in recipes():
        assert read(name, ("search.trials=3",)).search.trials == 3
    with pytest.raises(SpecError):
        read("quickstart", ("search.trials=none",))


def test_paths_on_this_machine_become_absolute_and_hub_names_stay(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    text = "name: x\nmodel: {base: %s}\ndata: {source: folder, path: %s}\n"
    here = located(parse(text % ("images", "./images")))
    assert here.model.base == here.data.path == str(tmp_path / "images")
    hub = located(parse(text % ("microsoft/git-base", "reach-vb/pokemon")))
    assert (hub.model.base, hub.data.path) == ("microsoft/git-base", "reach-vb/pokemon")
    assert located(hub) == hub

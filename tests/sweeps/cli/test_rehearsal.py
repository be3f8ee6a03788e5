"""A rehearsal: what becomes small, what stays, what is found, and one whole run."""

import shutil

import pytest
from PIL import Image

from sweeps.cli.rehearse import HELD_OUT, faults_of, names_layers, reading, small_sweep
from sweeps.spec.load import dump, parse, read
from workers.evaluation.inspection import Inspection
from workers.recipe import Adapter
from workers.tiny.stand_in import StandIn

RECIPES = (
    "quickstart", "git-pokemon", "blip2-flickr8k", "blip2-folder", "qwen2.5-vl-captions",
    "paligemma-product-vqa",
)  # fmt: skip
SHORT = "name: mine\nmodel: {base: some/base}\ndata: {source: folder, path: images"


@pytest.fixture(params=RECIPES)
def sweep(request):
    return read(request.param, ())


def sweep_of(rest="}", **more):
    return parse(f"{SHORT}{rest}\n" + "".join(f"{key}: {text}\n" for key, text in more.items()))


def test_is_small_whatever_the_sweep(sweep):
    small = small_sweep(sweep, "folder/of/tiny")
    assert (small.model.base, small.model.revision) == ("folder/of/tiny", None)
    assert small.data.limit <= 32
    assert (small.search.trials, small.most_epochs) == (2, 2)
    assert small.evaluate.limit <= 8
    assert max(small.train.batch_size, small.evaluate.batch_size) <= 2
    assert small.schedule.grace == small.most_epochs
    assert small.guard == sweep.guard.model_copy(update={"stop": False})


def test_keeps_what_it_is_to_prove(sweep):
    small = small_sweep(sweep, "folder/of/tiny")
    kept = ("task", "prompt", "adapter", "quantization")
    assert [getattr(small, name) for name in kept] == [getattr(sweep, name) for name in kept]
    assert small.search.space == sweep.search.space
    assert small.search.objective == sweep.search.objective
    assert small.evaluate.metrics == sweep.evaluate.metrics
    same = ("source", "path", "columns", "images", "seed")
    assert [getattr(small.data, n) for n in same] == [getattr(sweep.data, n) for n in same]


def test_touches_nothing_under_the_sweeps_own_names(sweep):
    small = small_sweep(sweep, "folder/of/tiny")
    assert small.name == f"{sweep.name}-rehearsal"
    assert small.tracking.experiment == f"{sweep.tracking.experiment}-rehearsal"
    if sweep.promote:
        assert small.promote.model == f"{sweep.promote.model}-rehearsal"
        assert small.promote.auto == sweep.promote.auto


def test_can_be_resumed_from_its_file(sweep):
    small = small_sweep(sweep, "folder/of/tiny")
    assert parse(dump(small)) == small


def test_nothing_is_promoted_where_the_sweep_promotes_nothing():
    assert small_sweep(sweep_of(), "tiny").promote is None


def test_a_name_of_full_length_stays_a_name():
    long = parse(f"name: {'a' * 100}\nmodel: {{base: b}}\ndata: {{source: shapes}}")
    assert small_sweep(long, "tiny").name == "a" * 90 + "-rehearsal"


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train: 0.98, validation: 0.01, test: 0.01", (0.5, 0.25, 0.25)),
        ("train: 0.9, validation: 0.1, test: 0.0", (0.5, 0.25, 0.0)),
        ("train: a.txt, validation: b.txt, test: c.txt", ("a.txt", "b.txt", "c.txt")),
        ("train: a.txt, validation: 0.1, test: c.txt", ("a.txt", HELD_OUT, "c.txt")),
    ],
)
def test_every_split_keeps_its_kind_and_some_images(split, expected):
    small = small_sweep(sweep_of(f", split: {{{split}}}}}"), "tiny").data.split
    assert (small.train, small.validation, small.test) == expected


def test_a_division_of_the_data_sets_own_stays():
    assert small_sweep(sweep_of(), "tiny").data.split is None


def test_a_smaller_limit_stays():
    assert small_sweep(sweep_of(", limit: 12}"), "tiny").data.limit == 12


def test_swept_epochs_are_held_and_conditions_stay():
    space = """
  space:
    train.epochs: {int_uniform: [5, 50]}
    quantization: {choice: [none, nf4]}
    train.batch_size: {choice: [8, 64], when: {quantization: nf4}}"""
    small = small_sweep(sweep_of(search=space), "tiny")
    assert small.most_epochs == 2
    assert small.search.space["train.batch_size"].form() == {
        "choice": [2], "when": {"quantization": "nf4"},
    }  # fmt: skip


def test_rules_over_what_a_rehearsal_changes_are_left_out():
    search = """
  space: {preset: full, train.epochs: {choice: [4, 8]}}
  rules: [train.epochs >= 4, train.batch_size * train.accumulate >= 2, adapter.rank <= 16]
  forbidden: [{train.epochs: 8, adapter.rank: 4}, {adapter.rank: 8, adapter.targets: all}]"""
    small = small_sweep(sweep_of(search=search), "tiny").search
    assert [str(rule) for rule in small.all_rules] == [
        "adapter.rank <= 16",
        "not (quantization == 'int8' and adapter.variant == 'dora')",
        "forbidden: adapter.rank 8, adapter.targets all",
    ]


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (Adapter(targets="text"), False),
        (Adapter(targets=r"re:.*layers\.(30|31)\..*"), True),
        (Adapter(trained_modules=("lm_head",)), True),
    ],
)
def test_modules_by_path_are_noticed(adapter, expected):
    assert names_layers(sweep_of().model_copy(update={"adapter": adapter})) is expected


def found(problems=(), quantizations=()):
    return Inspection(
        images={}, problems=problems, positions=8, pairs=(), quantizations=dict(quantizations)
    )


def test_what_the_sweep_would_refuse_is_a_fault():
    assert faults_of(sweep_of(), found()) == []
    (fault,) = faults_of(sweep_of(), found(("a.png: missing",)))
    assert "1 problem," in fault
    assert "on_bad_sample: skip" in fault
    assert faults_of(sweep_of(", on_bad_sample: skip}"), found(("a.png: missing",))) == []


def test_a_quantization_that_does_not_train_is_a_fault():
    (fault,) = faults_of(sweep_of(), found(quantizations={"none": None, "nf4": "no kernel"}))
    assert fault == "quantization nf4: no kernel"


@pytest.fixture
def rehearse(sweeps):
    """Return a function that rehearses a file: its arguments -> exit code, output, errors."""
    return lambda *arguments: sweeps("run", *arguments, "--rehearse")


def test_a_base_of_unknown_family_is_refused_with_a_way_out(rehearse, tmp_path):
    (tmp_path / "mine.yaml").write_text(SHORT.replace("some/base", "some/thing") + "}")
    code, out, err = rehearse("mine.yaml")
    assert (code, out) == (1, "")
    assert "the family of 'some/thing' is unknown" in err
    assert "hf download some/thing" in err
    assert not (tmp_path / "sweep-results").exists()


def test_images_of_unlike_shapes_are_tried_whatever_the_data_are(checkpoints):
    found = reading(StandIn(base=str(checkpoints("idefics3")), exact=True, origin=""))
    assert {one.outcome for one in found} == {"passed"}
    (batch,) = [one for one in found if one.check == "batch equals one by one"]
    assert "96 x 160, 480 x 320, 112 x 112, 2000 x 40" in batch.detail


def test_a_template_that_loses_the_image_is_told_before_anything_starts(
    rehearse, checkpoints, tmp_path
):
    base = shutil.copytree(checkpoints("llava"), tmp_path / "llava")
    template = base / "chat_template.jinja"
    template.write_text("{% for turn in messages %}{{ turn.role }}: {% endfor %}")
    code, _, err = rehearse("quickstart", "--set", f"model.base={base}")
    assert code != 0
    assert "the rendered conversation must have the image token '<image>' once" in err


@pytest.mark.slow
def test_a_recipe_is_rehearsed_from_file_to_registry(rehearse, tmp_path):
    """One image of the folder is broken: it is named, and the verdict says what to do."""
    import ray

    folder = tmp_path / "pairs"
    folder.mkdir()
    rows = ["image,caption"]
    for number in range(24):
        Image.new("RGB", (20 + number, 20), (10 * number, 0, 0)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,a red strip of width {number}")
    (folder / "7.png").write_bytes(b"no image")
    (folder / "captions.csv").write_text("\n".join(rows))
    try:
        code, out, _ = rehearse(
            "blip2-folder", "--set", f"data.path={folder}", "--set", "evaluate.metrics=[cider]"
        )
    finally:
        ray.shutdown()
    assert code == 1
    for said in (
        "a tiny blip2-opt",
        "7.png: not an image of a known format",
        "100.0% of the tokens are learned",
        "batch equals one by one: passed",
        "<image> x 4 </s>a photo of",
        "int8: loads and trains a step",
        "nf4: loads and trains a step",
        "captions equal, all",
        "folder-captioner-rehearsal version 1",
        "to fix before the sweep",
    ):
        assert said in out, (said, out)

"""Every kind of problem, with its path, line, words and nearest name."""

from pathlib import Path
from typing import Any

import pytest

from sweeps import names
from sweeps.spec.load import SpecError, dump, load, parse

HEAD = """\
name: shapes
model: {base: tiny:shapes}
data: {source: shapes}
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(text, overrides=overrides)
    assert str(caught.value) == "\n".join(map(str, caught.value.issues))
    return [str(problem) for problem in caught.value.issues]


SINGLE = {
    # text after HEAD -> the one problem, without the name of the file
    "train: {learning_rate: fast}":
        '4  train.learning_rate  must be a number above 0, got "fast"',
    "train: {learning_rate: '5e-5'}":
        '4  train.learning_rate  must be a number above 0, got "5e-5"',
    "train: {learning_rate: 0}":
        "4  train.learning_rate  must be a number above 0, got 0",
    "train: {learning_rate: .inf}":
        "4  train.learning_rate  must be a number above 0, got Infinity",
    "train: {epochs: true}":
        "4  train.epochs  must be a whole number of at least 1, got true",
    "train: {epochs: 1e3}":
        "4  train.epochs  must be a whole number of at least 1, got 1000.0",
    "train: {epochs:}":
        "4  train.epochs  must be a whole number of at least 1, got null",
    "train: {warmup: 1.5}":
        "4  train.warmup  must be a number of at least 0 and at most 1, got 1.5",
    "train: {decay: linea}":
        '4  train.decay  must be one of constant, linear, cosine, got "linea" '
        "(did you mean linear?)",
    "train: {max_grad_norm: -1}":
        "4  train.max_grad_norm  must be a number above 0 or null, got -1",
    "train:\n  learning_rte: 1":
        "5  train.learning_rte  must be one of the keys epochs, batch_size, accumulate, "
        "learning_rate, vision_learning_rate, projector_learning_rate, lora_plus_ratio, "
        "warmup, warmup_steps, decay, weight_decay, max_grad_norm, "
        "label_smoothing, activation_checkpointing, patience, seed, got learning_rte "
        "(did you mean train.learning_rate?)",
    "learning_rate: 1":
        "4  learning_rate  must be one of the keys task, model, data, prompt, train, adapter, "
        "quantization, evaluate, guard, name, search, schedule, resources, disk, storage, "
        "tracking, promote, got learning_rate (did you mean train.learning_rate?)",
    "train.epochs: 1":
        "4  train.epochs  must be written as a section, train: {epochs: ...}, got train.epochs",
    "task: vqb":
        '4  task  must be one of captioning, vqa, got "vqb" (did you mean vqa?)',
    "train: 5":
        "4  train  must be a section with the keys epochs, batch_size, accumulate, "
        "learning_rate, vision_learning_rate, projector_learning_rate, lora_plus_ratio, "
        "warmup, warmup_steps, decay, weight_decay, max_grad_norm, "
        "label_smoothing, activation_checkpointing, patience, seed, got 5",
    "adapter: {dropout: 1}":
        "4  adapter.dropout  must be a number of at least 0 and below 1, got 1",
    "adapter: {targets: text_al}":
        '4  adapter.targets  must be one of text, text_all, text_all_head, vision, all, '
        'got "text_al" (did you mean text_all?)',
    "quantization: nf":
        '4  quantization  must be one of none, int8, nf4, nf4-single, fp4, fp4-single, '
        'got "nf" (did you mean nf4?)',
    "evaluate: {metrics: []}":
        "4  evaluate.metrics  must be a list of text that is not empty, got []",
    "evaluate: {metrics: [cider, 5]}":
        '4  evaluate.metrics  must be a list of text that is not empty, got ["cider", 5]',
    "evaluate: {metrics: [cider, cidr]}":
        "4  evaluate.metrics  must name metrics of captioning: bleu, meteor, rouge_l, cider, "
        "cider_fixed_idf, exact_match, word_error_rate, distinct_captions, length_ratio, "
        'repetition, got "cidr" (did you mean cider?)',
    "evaluate: {metrics: [cider, cider]}":
        '4  evaluate.metrics  must be a list without repeats, got "cider"',
    "guard: {same_caption: 0}":
        "4  guard.same_caption  must be a number above 0 and at most 1 or null, got 0",
    "guard: {repetition: 1.5}":
        "4  guard.repetition  must be a number above 0 and at most 1 or null, got 1.5",
    "guard: {empty: none}":
        '4  guard.empty  must be a number above 0 and at most 1 or null, got "none"',
    "guard: {rungs: 0}":
        "4  guard.rungs  must be a whole number of at least 1, got 0",
    "guard: {stop: maybe}":
        '4  guard.stop  must be true or false, got "maybe"',
    "guard: {same_captions: 0.9}":
        "4  guard.same_captions  must be one of the keys stop, same_caption, repetition, empty, "
        "rungs, got same_captions (did you mean guard.same_caption?)",
    "guard: false":
        "4  guard  must be a section with the keys stop, same_caption, repetition, empty, rungs, "
        "got false",
    "search: {trials: 0}":
        "4  search.trials  must be a whole number of at least 1, got 0",
    "search: {sampler: {name: tpo}}":
        '4  search.sampler.name  must be one of random, grid, tpe, cmaes, gp, nsga2, qmc, '
        'got "tpo" (did you mean tpe?)',
    "search: {sampler: {options: {startup: 3}}}":
        "4  search.sampler.options.startup  must be one of the keys startup_trials, candidates, "
        "got startup (did you mean startup_trials?)",
    "search: {sampler: {options: {candidates: many}}}":
        '4  search.sampler.options.candidates  must be a whole number of at least 1, '
        'got "many"',
    "search: {objective: {metric: bleu4}}":
        "4  search.objective.metric  must be loss or an output of evaluate.metrics: bleu_1, "
        'bleu_2, bleu_3, bleu_4, meteor, rouge_l, cider, got "bleu4" (did you mean bleu_4?)',
    "search: {objective: {metric: exact_match}}":
        "4  search.objective.metric  must be loss or an output of evaluate.metrics: bleu_1, "
        'bleu_2, bleu_3, bleu_4, meteor, rouge_l, cider, got "exact_match"',
    "evaluate: {metrics: [bleu]}":
        "search.objective.metric  must be loss or an output of evaluate.metrics: bleu_1, bleu_2, "
        'bleu_3, bleu_4, got "cider"',
    "evaluate: {metrics: [length_ratio]}":
        'search.objective.metric  must be loss, got "cider"',
    "evaluate: {metrics: [length_ratio]}\nsearch: {objective: {metric: length_ratio, mode: max}}":
        "5  search.objective.metric  must say which caption is better, which more or less of this "
        'does not, got "length_ratio"',
    "search: {objective: {metric: cider, mode: min}}":
        "4  search.objective.mode  must be max for cider, got min",
    "search: {objective: {metric: loss, mode: max}}":
        "4  search.objective.mode  must be min for loss, got max",
    "search: {objective: []}":
        "4  search.objective  must be a section with the keys metric, mode, or a list of such "
        "sections, got []",
    "search: {objective: cider}":
        "4  search.objective  must be a section with the keys metric, mode, or a list of such "
        'sections, got "cider"',
    "search: {objective: [{metric: cider}, adapter_mb]}":
        '4  search.objective.1  must be a section with the keys metric, mode, got "adapter_mb"',
    "search: {objective: [{metric: cider}, {metrc: loss}]}":
        "4  search.objective.1.metrc  must be one of the keys metric, mode, got metrc "
        "(did you mean metric?)",
    "search: {objective: {metric: adapter_mb}}":
        "4  search.objective.metric  must be a score when it is the first, which decides what "
        'rung of a trial counts, got "adapter_mb"',
    "search: {objective: [{metric: latency_ms}, {metric: cider}]}":
        "4  search.objective.0.metric  must be a score when it is the first, which decides what "
        'rung of a trial counts, got "latency_ms"',
    "search: {objective: [{metric: loss}, {metric: loss}]}":
        "4  search.objective.1.metric  must be another one: it stands in the list already, "
        'got "loss"',
    "search: {objective: [{metric: loss}, {metric: latency}]}":
        "4  search.objective.1.metric  must be loss or an output of evaluate.metrics: bleu_1, "
        "bleu_2, bleu_3, bleu_4, meteor, rouge_l, cider; or adapter_mb, trainable_parameters, "
        'latency_ms, seconds_per_epoch, peak_memory_gb, got "latency" (did you mean latency_ms?)',
    "search: {objective: [{metric: cider}, {metric: adapter_mb, mode: max}]}":
        "4  search.objective.1.mode  must be min for adapter_mb, got max",
    "search: {sampler: {name: cmaes}, objective: [{metric: cider}, {metric: adapter_mb}]}":
        "4  search.sampler.name  must be one of random, grid, tpe, gp, nsga2, qmc for several "
        'objectives, got "cmaes"',
    "search: {constraints: {adapter_mb: 50}}":
        '4  search.constraints.adapter_mb  must be a limit such as "< 22": <, <=, > or >= and a '
        "number, got 50",
    "search: {constraints: {adapter_mb: '== 50'}}":
        '4  search.constraints.adapter_mb  must be a limit such as "< 22": <, <=, > or >= and a '
        'number, got "== 50"',
    "search: {constraints: {adapter_mb: '< inf'}}":
        '4  search.constraints.adapter_mb  must be a limit such as "< 22": <, <=, > or >= and a '
        'number, got "< inf"',
    "search: {constraints: [adapter_mb]}":
        '4  search.constraints  must be a mapping such as {adapter_mb: "<= 50"}, '
        'got ["adapter_mb"]',
    "search: {constraints: {memory: '< 22'}}":
        "4  search.constraints.memory  must limit one of adapter_mb, trainable_parameters, "
        "latency_ms, seconds_per_epoch, peak_memory_gb, loss, bleu_1, bleu_2, bleu_3, bleu_4, "
        "meteor, rouge_l, cider, got memory (did you mean meteor?)",
    "search: {objective: {metric: [cider]}}":
        '4  search.objective.metric  must be text, got ["cider"]',
    "schedule: {name: ahsa}":
        '4  schedule.name  must be one of asha, fifo, hyperband, median, pbt, got "ahsa" '
        "(did you mean asha?)",
    "schedule: {grace: 16}":
        "4  schedule.grace  must be at most train.epochs, 15, got 16",
    "schedule: {name: median, options: {sample: 3}}":
        "4  schedule.options.sample  must be one of the keys samples, got sample "
        "(did you mean samples?)",
    "schedule: {name: median, options: {samples: 0}}":
        "4  schedule.options.samples  must be a whole number of at least 1, got 0",
    "schedule: {options: {samples: 3}}":
        '4  schedule.options  must be left out: asha has none, got {"samples": 3}',
    "schedule: {unpruned: 4}":
        "4  schedule.unpruned  must be 0, or at least 5 and at most search.trials, 16, got 4",
    "schedule: {unpruned: 17}":
        "4  schedule.unpruned  must be 0, or at least 5 and at most search.trials, 16, got 17",
    "schedule: {name: hyperband, unpruned: 5}":
        "4  schedule.unpruned  must be 0 for hyperband, whose trials wait for each other, got 5",
    "schedule: {grace: 2}\nevaluate: {from_rung: 3}":
        "4  schedule.grace  must be at least evaluate.from_rung, 3: before it there is no cider, "
        "got 2",
    "evaluate: {from_rung: 16}":
        "4  evaluate.from_rung  must be at most train.epochs, 15, got 16",
    "search: {budget: {trials: 7}}":
        "4  search.budget  must be hours and gpu_hours; the number of trials is search.trials, "
        'got {"trials": 7}',
    "search: {budget: {hours: 0}}":
        "4  search.budget.hours  must be a number above 0 or null, got 0",
    "search: {warm_start: [../shapes-1]}":
        "4  search.warm_start.0  must be the name of an earlier sweep, not a path, "
        'got "../shapes-1"',
    "schedule: {reduction: 1}":
        "4  schedule.reduction  must be a whole number of at least 2, got 1",
    "resources: {hosts: many}":
        '4  resources.hosts  must be auto or a whole number of at least 1, got "many"',
    "resources: {slots: 0}":
        "4  resources.slots  must be auto or a whole number of at least 1, got 0",
    "tracking: {experiment: ''}":
        f'4  tracking.experiment  must be {names.EXPERIMENT}, got ""',
    "tracking: {experiment: \"a\\x1b[2J\"}":
        f'4  tracking.experiment  must be {names.EXPERIMENT}, got "a\\u001b[2J"',
    "tracking: {experiment: [a]}":
        f'4  tracking.experiment  must be {names.EXPERIMENT}, got ["a"]',
    "tracking: {uri: 'https://ann:secret@mlflow.example'}":
        "4  tracking.uri  must be an address without a secret: user and password belong in the "
        "environment, as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (a database's as "
        "its client takes them, such as PGPASSWORD), and a token as "
        'MLFLOW_TRACKING_TOKEN, got "https://***@mlflow.example"',
    "tracking: {uri: 'https://mlflow.example?token=secret'}":
        "4  tracking.uri  must be an address without a secret: user and password belong in the "
        "environment, as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (a database's as "
        "its client takes them, such as PGPASSWORD), and a token as "
        'MLFLOW_TRACKING_TOKEN, got "https://mlflow.example?token=***"',
    "tracking: {uri: ''}":
        '4  tracking.uri  must be text that is not empty or null, got ""',
    "tracking: {uri: 'http://ann:secretsecretsecretsecretsecretsecretsecretsecretsecretsecret@mlflow.example'}":
        "4  tracking.uri  must be an address without a secret: user and password belong in the "
        "environment, as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (a database's as "
        "its client takes them, such as PGPASSWORD), and a token as "
        'MLFLOW_TRACKING_TOKEN, got "http://***@mlflow.example"',
    "resources: {hosts: {token: secret}}":
        '4  resources.hosts  must be auto or a whole number of at least 1, got {"token": "***"}',
    "resources: {hosts: 1, password: secret}":
        "4  resources.password  must be one of the keys hosts, packing, slots, device, "
        "gpus_per_host, got password",
    "promote: {model: ''}":
        f'4  promote.model  must be {names.MODEL}, got ""',
    "promote: {model: a/b}":
        f'4  promote.model  must be {names.MODEL}, got "a/b"',
    "promote: {model: '\"it''s\"'}":
        rf'''4  promote.model  must be {names.MODEL}, got "\"it's\""''',
    "promote: {}":
        f"4  promote.model  must be {names.MODEL}, got nothing",
    "promote: {model: a, auto: 1}":
        "4  promote.auto  must be true or false, got 1",
    "promote: {model: a, margin: -0.1}":
        "4  promote.margin  must be a number of at least 0, got -0.1",
    "promote: {model: a, confidence: 95}":
        "4  promote.confidence  must be a number above 0 and below 1, got 95",
    "promote: {model: a, max_adapter_mb: 0}":
        "4  promote.max_adapter_mb  must be a number above 0 or null, got 0",
    "promote: {model: a, max_latency: 5}":
        "4  promote.max_latency  must be one of the keys model, auto, margin, confidence, "
        "max_adapter_mb, max_latency_ms, max_slowdown, approval, got max_latency "
        "(did you mean promote.max_latency_ms?)",
    "name: again":
        "4  name  must be given once, was on line 1 already",
    "a: &x 1\nb: *x":
        "5  must be valid YAML: aliases (*name) and tags (!name) are not for sweep files",
    "train: !!python/object:os.system {}":
        "4  must be valid YAML: aliases (*name) and tags (!name) are not for sweep files",
    "train: {epochs: [}":
        "4  must be valid YAML: expected the node content, but found '}'",
}  # fmt: skip


@pytest.mark.parametrize("text", SINGLE)
def test_one_problem(text: str) -> None:
    place, _, rest = SINGLE[text].partition("  ")
    expected = f"sweep.yaml:{SINGLE[text]}" if place.isdigit() else f"sweep.yaml  {place}  {rest}"
    assert problems(HEAD + text) == [expected]


SWEPT = {
    # one line of the space -> the problem after "search.space."
    "adapter.rnak: {choice: [4]}":
        "adapter.rnak  must be swept by the name of a field, such as train.learning_rate, "
        "got adapter.rnak (did you mean adapter.rank?)",
    "rank: {choice: [4]}":
        "rank  must be swept by the name of a field, such as train.learning_rate, got rank "
        "(did you mean adapter.rank?)",
    "adapter: {choice: [4]}":
        "adapter  must be swept by the name of a field, such as train.learning_rate, got adapter "
        "(did you mean adapter.rank?)",
    "quantization.kind: {choice: [none]}":
        "quantization.kind  must be swept by the name of a field, such as train.learning_rate, "
        "got quantization.kind (did you mean quantization?)",
    "task: {choice: [captioning]}":
        "task  must not be swept: one sweep is about one task",
    "data.limit: {choice: [10]}":
        "data.limit  must not be swept: trials on different images cannot be compared",
    "evaluate.beams: {choice: [1, 2]}":
        "evaluate.beams  must not be swept: scores that were taken in different ways cannot be "
        "compared",
    "guard.rungs: {choice: [1, 2]}":
        "guard.rungs  must not be swept: what a collapse is must be the same for all trials",
    "adapter.rank: [4, 8]":
        "adapter.rank  must be a domain such as {choice: [4, 8]}, got [4, 8]",
    "adapter.rank: {choice: []}":
        "adapter.rank.choice  must be a list of one or more texts, numbers, true, false or null, "
        "got []",
    "adapter.rank: {choice: [4, 8, 4]}":
        "adapter.rank.choice  must be a list without repeats, 4 repeats, got [4, 8, 4]",
    "adapter.rank: {choice: [0, 8, x]}":
        'adapter.rank  must have values that fit adapter.rank: a whole number of at least 1, '
        'got 0, "x"',
    "adapter.rank: {int_uniform: [0, 8]}":
        "adapter.rank  must have values that fit adapter.rank: a whole number of at least 1, "
        "got 0",
    "adapter.rank: {uniform: [4, 8]}":
        "adapter.rank  must have values that fit adapter.rank: a whole number of at least 1 "
        "(as int_uniform draws them), got 4.0, 8.0",
    "adapter.rank: {uniform: [8, 4]}":
        "adapter.rank.uniform  must have a low end below the high end, got [8, 4]",
    "adapter.rank: {int_uniform: [4, 8], step: 8}":
        "adapter.rank.step  must be at most the length of the range, 4, got 8",
    "train.learning_rate: {log_uniform: [0, 1e-3]}":
        "train.learning_rate.log_uniform  must have a low end above 0, because the scale is "
        "logarithmic, got [0, 0.001]",
    "train.learning_rate: {log_uniform: [1e-5, 1e-3], step: 1e-5}":
        "train.learning_rate.step  must be left out: on a logarithmic scale Optuna has no steps, "
        "got 1e-05",
    "train.learning_rate: {log_unifrom: [1e-5, 1e-3]}":
        "train.learning_rate  must have exactly one of choice, uniform, log_uniform, int_uniform, "
        "int_log_uniform, got log_unifrom (did you mean log_uniform?)",
    "adapter.dropout: {uniform: [0, 1]}":
        "adapter.dropout  must have values that fit adapter.dropout: a number of at least 0 and "
        "below 1, got 1.0",
    "quantization: {choice: [none, nf5]}":
        'quantization  must be one of none, int8, nf4, nf4-single, fp4, fp4-single, '
        'got "nf5" (did you mean nf4?)',
    "adapter.targets: {choice: [txt]}":
        "adapter.targets  must be one of text, text_all, text_all_head, vision, all, "
        'got "txt" (did you mean text?)',
    "adapter.alpha: {choice: [8], when: {quantization: nf4}}":
        "adapter.alpha.when.quantization  must name a path that is swept too, got quantization",
    "train.epochs: {choice: [many]}":
        "train.epochs  must have values that fit train.epochs: a whole number of at least 1, "
        'got "many"',
}  # fmt: skip


@pytest.mark.parametrize("line", SWEPT)
def test_one_problem_of_the_space(line: str) -> None:
    text = f"{HEAD}search:\n  space:\n    {line}\n    train.seed: {{choice: [1, 2]}}\n"
    assert problems(text) == [f"sweep.yaml:6  search.space.{SWEPT[line]}"]


@pytest.mark.parametrize("space", ["lroa", "5", "[lora]"])
def test_a_space_is_a_preset_or_a_mapping(space: str) -> None:
    (problem,) = problems(f"{HEAD}search: {{space: {space}}}")
    assert problem.startswith(
        "sweep.yaml:4  search.space  must be a preset (lora, qlora, lora-plus-targets, "
        "optimizer, full) or a mapping from fields to domains, got"
    )


def test_the_loss_and_fifo_do_not_wait_for_captions() -> None:
    text = f"{HEAD}evaluate: {{from_rung: 3}}"
    assert parse(text, overrides=["search.objective.metric=loss"]).schedule.grace == 1
    assert parse(text, overrides=["schedule.name=fifo"]).evaluate.from_rung == 3


def test_grace_is_compared_with_swept_epochs() -> None:
    text = f"{HEAD}schedule: {{grace: 5}}\nsearch: {{space: {{train.epochs: {{choice: [2, 4]}}}}}}"
    assert problems(text) == [
        "sweep.yaml:4  schedule.grace  must be at most train.epochs, 4, got 5"
    ]
    fifo = text.replace("grace", "name: fifo, grace")
    assert parse(fifo).schedule.name == "fifo"


def test_required_parts_are_asked_for_together() -> None:
    assert problems("task: captioning") == [
        "sweep.yaml  model  must be a section with the keys base, revision, dtype, "
        "attn_implementation, unquantized_modules, min_pixels, max_pixels, got nothing",
        "sweep.yaml  data  must be a section with the keys source, path, revision, images, "
        "columns, allow_private_links, allow_redirected_links, limit, split, seed, "
        "on_bad_sample, got nothing",
        "sweep.yaml  name  must be a name for a folder: up to 100 letters, digits and . _ -, "
        "no . _ - in front, got nothing",
    ]


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a b", "''", "5", "x" * 101])
def test_a_name_is_usable_as_a_folder(name: str) -> None:
    (problem,) = problems(HEAD.replace("name: shapes", f"name: {name}"))
    assert "sweep.yaml:1  name  must be a name for a folder" in problem


def test_shares_of_the_split() -> None:
    split = "{source: shapes, split: {train: 0.9, validation: 0.3}}"
    assert problems(HEAD.replace("{source: shapes}", split)) == [
        "sweep.yaml:3  data.split  must be shares that add up to at most 1, these add up to 1.3, "
        'got {"train": 0.9, "validation": 0.3}'
    ]


MANY = """\
name: a/b
model: {base: 5}
data:
  source: shape
train:
  epochs: 2
  epochs: many
  learning_rate: fast
adapter: {rank: 0}
evaluate: {metrics: [bleu, cidr]}
search:
  space:
    adapter.rnak: {uniform: [4, 2], step: -1}
    adapter.rank: {uniform: [4, 8]}
    adapter.dropout: {choice: [0.1], when: {quantizaton: nf4}}
    data.limit: {choice: []}
    quantization: {choice: [none, nf5]}
  objective: {metric: cider, mode: min}
  trials: 0
schedule: {name: ahsa}
promote: {model: ""}
extra: 1
"""


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(SpecError) as caught:
        parse(MANY, overrides=["train.warmup=2", "nonsense"])
    assert [(p.location.line, p.path) for p in caught.value.issues] == [
        (1, "name"),
        (2, "model.base"),
        (4, "data.source"),
        (7, "train.epochs"),
        (8, "train.learning_rate"),
        (9, "adapter.rank"),
        (10, "evaluate.metrics"),
        (13, "search.space.adapter.rnak.uniform"),
        (13, "search.space.adapter.rnak.step"),
        (13, "search.space.adapter.rnak"),
        (14, "search.space.adapter.rank"),
        (15, "search.space.adapter.dropout.when.quantizaton"),
        (16, "search.space.data.limit.choice"),
        (16, "search.space.data.limit"),
        (17, "search.space.quantization"),
        (18, "search.objective.mode"),
        (19, "search.trials"),
        (20, "schedule.name"),
        (21, "promote.model"),
        (22, "extra"),
        (None, ""),
        (None, "train.warmup"),
    ]


OVERRIDES = {
    "train.epochs": '--set  must look like train.epochs=3, got "train.epochs"',
    "=3": '--set  must look like train.epochs=3, got "=3"',
    "train..epochs=3": '--set  must look like train.epochs=3, got "train..epochs=3"',
    "train.epochs=many":
        '--set  train.epochs  must be a whole number of at least 1, got "many"',
    "train={epochs: 0}": "--set  train.epochs  must be a whole number of at least 1, got 0",
    "train.epcohs=3":
        "--set  train.epcohs  must be one of the keys epochs, batch_size, accumulate, "
        "learning_rate, vision_learning_rate, projector_learning_rate, lora_plus_ratio, "
        "warmup, warmup_steps, decay, weight_decay, max_grad_norm, "
        "label_smoothing, activation_checkpointing, patience, seed, got epcohs "
        "(did you mean train.epochs?)",
    "name.first=x":
        '--set  name.first  must name a field, but name is a value, not a section, got "shapes"',
    "search.space.adapter.rnak={choice: [4]}":
        "--set  search.space.adapter.rnak  must be swept by the name of a field, such as "
        "train.learning_rate, got adapter.rnak (did you mean adapter.rank?)",
    "search.space.adapter.rank.choice=[4]":
        "--set  search.space.adapter.rank.choice  must be swept by the name of a field, such as "
        "train.learning_rate, got adapter.rank.choice (did you mean adapter.rank?)",
    "train.epochs=[":
        "--set  train.epochs  must be valid YAML: expected the node content, but found "
        "'<stream end>'",
    "train={epochs: 1, epochs: 2}": "--set  train.epochs  must be given once",
}  # fmt: skip


@pytest.mark.parametrize("override", OVERRIDES)
def test_problems_of_overrides(override: str) -> None:
    assert OVERRIDES[override] in problems(HEAD, override)


def test_an_override_takes_the_line_of_what_it_replaces() -> None:
    text = HEAD + "train:\n  epochs: many\n  seed: -1"
    assert problems(text, "train.epochs=few") == [
        "sweep.yaml:6  train.seed  must be a whole number of at least 0, got -1",
        '--set  train.epochs  must be a whole number of at least 1, got "few"',
    ]


def test_an_override_in_a_file_without_that_section() -> None:
    assert problems(HEAD, "schedule.grace=0") == [
        "--set  schedule.grace  must be a whole number of at least 1, got 0"
    ]


@pytest.mark.parametrize("text", ["", "# only a comment", "[1]", "words"])
def test_a_file_is_a_mapping(text: str) -> None:
    (problem,) = problems(text)
    assert "must be a mapping with the keys name, model, data, ..., got" in problem


def test_syntax_errors_name_their_line() -> None:
    assert problems("name: x\n\tmodel: y") == [
        "sweep.yaml:2  must be valid YAML: found character '\\t' that cannot start any token"
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml  must be a readable text file: No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="must be a readable text file: Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(SpecError, match="byte 9 is not UTF-8"):
        load(tmp_path / "latin.yaml")


def test_problems_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(HEAD + "quantization: 5")
    with pytest.raises(SpecError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:4  quantization  must be text, got 5"


def paths(section: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = [(path, value) for path, value in section.items() if isinstance(value, dict)]
    return [(*above, path) for path in section] + [
        found for path, value in inner for found in paths(value, (*above, path))
    ]


FILLED = parse(HEAD + "promote: {model: mine}\nsearch: {space: qlora}")
FIELDS = [path for path in paths(FILLED.model_dump()) if path[:2] != ("search", "space")]


def refused(text: str, override: str) -> SpecError | None:
    try:
        parse(text, overrides=[override])
    except SpecError as error:
        return error
    return None


@pytest.mark.parametrize("value", ["{x: 1}", "[[]]", "-1.5"])
def test_whatever_stands_in_a_field_is_accepted_or_refused_there(value: str) -> None:
    text, accepted = dump(FILLED), []
    for path in FIELDS:
        dotted = ".".join(path)
        error = refused(text, f"{dotted}={value}")
        if error is None:
            accepted.append(dotted)
            continue
        assert any(problem.path.startswith(dotted) for problem in error.issues)
        assert all(problem.location.source == "--set" for problem in error.issues)
    assert accepted == []


def test_fields_that_do_not_go_together_are_refused_before_anything_starts() -> None:
    (problem,) = problems(HEAD + "quantization: int8\nadapter: {variant: dora}")
    assert "adapter.variant  must be lora or rslora with quantization int8" in problem
    swept = "adapter: {variant: dora}\nsearch: {space: {quantization: {choice: [none, int8]}}}"
    (problem,) = problems(HEAD + swept)
    assert "search.space.quantization  adapter.variant must be lora or rslora" in problem
    assert problem.endswith('got "int8"')


def test_a_lower_limit_of_pixels_above_the_upper_one_is_refused() -> None:
    limits = "model: {base: tiny:shapes, min_pixels: 5000, max_pixels: 4000}"
    (problem,) = problems(HEAD.replace("model: {base: tiny:shapes}", limits))
    assert "model.min_pixels  must be at most model.max_pixels, 4000, got 5000" in problem
    fixed = HEAD.replace("tiny:shapes}", "tiny:shapes, min_pixels: 5000}")
    swept = "search: {space: {model.max_pixels: {choice: [4000, 6000]}}}"
    (problem,) = problems(fixed + swept)
    assert "search.space.model.max_pixels  model.min_pixels must be at most" in problem

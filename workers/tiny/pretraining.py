"""The builder of `tiny:shapes`: a very small GIT that learns the base wording of the scenes.

It also sees the target's words, in the catalog wording, and spelled words, so that it can
be tuned on captions with any words. The held-out scenes stay unseen.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workers.data.scenes import base_caption, catalog_caption, draw, known_scenes
from workers.tiny.git import CLS, PAD, SEP, make_model, make_processor


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How the base is trained, by AdamW and with a cosine down to 0."""

    steps: int = 1000
    batch_size: int = 32
    images: int = 4000
    learning_rate: float = 2e-3
    catalog_share: float = 0.2
    """Share of the captions that are in the catalog wording."""
    spelled_every: int = 8
    """One batch of so many is spelled: all in one, because spelled captions are long."""
    spelled_share: float = 0.5
    """Share of the words of a spelled batch that are split into letters."""
    seed: int = 1


def build(folder: Path, progress: Callable[[str], None], plan: Pretraining | None = None) -> None:
    """Pretrain on one thread and save model and processor in `folder`.

    The number of threads and torch's random state are the same afterwards as before.
    """
    plan = plan or Pretraining()
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed GPUs too, whose state is not restored.
        torch.default_generator.manual_seed(plan.seed)
        torch.set_num_threads(1)
        try:
            processor = make_processor()
            model = make_model(len(processor.tokenizer))
            _train(model, processor, plan, progress)
        finally:
            torch.set_num_threads(threads)
    model.eval()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _train(model: Any, processor: Any, plan: Pretraining, progress: Callable[[str], None]) -> None:
    chance = random.Random(plan.seed)
    scenes = chance.choices(known_scenes(), k=plan.images)
    images = [draw(scene, f"pretraining {number}") for number, scene in enumerate(scenes)]
    pixels = processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.steps)
    model.train()
    for step in range(1, plan.steps + 1):
        chosen = chance.choices(range(plan.images), k=plan.batch_size)
        spelled_share = 0.0 if step % plan.spelled_every else plan.spelled_share
        captions = []
        for index in chosen:
            in_catalog = chance.random() < plan.catalog_share
            caption = (catalog_caption if in_catalog else base_caption)(scenes[index])
            captions.append(pieces(caption, spelled_share, chance))
        loss = model(pixel_values=pixels[chosen], **text_batch(processor.tokenizer, captions)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == plan.steps:
            progress(f"step {step} of {plan.steps}, loss {loss.item():.3f}")


def pieces(caption: str, spelled_share: float, chance: random.Random) -> list[str]:
    """Return the caption as WordPiece tokens, a share of its words split into letters."""
    found: list[str] = []
    for word in caption.split():
        if chance.random() < spelled_share:
            found += [word[0], *(f"##{letter}" for letter in word[1:])]
        else:
            found.append(word)
    return found


def text_batch(tokenizer: Any, captions: Sequence[Sequence[str]]) -> dict[str, Tensor]:
    """Return input_ids, attention_mask and labels (captions, tokens), padded on the right."""
    numbers = (tokenizer.convert_tokens_to_ids(list(caption)) for caption in captions)
    rows = [torch.tensor([CLS, *own, SEP]) for own in numbers]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    padding = ids == PAD
    labels = ids.masked_fill(padding, -100)
    return {"input_ids": ids, "attention_mask": (~padding).long(), "labels": labels}

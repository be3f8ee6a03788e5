"""The losses of the learned tokens against the models' own, in every family."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from workers import data
from workers.encoding import collation
from workers.encoding.collation import IGNORED, learned_labels
from workers.families.prompts import PromptBuilder
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Adapter, Data, Model
from workers.tiny.checkpoints import VARIANTS
from workers.training.losses import LearnedTokens, token_losses

CPU = torch.device("cpu")
CAPTIONS = ["crimson disc beside azure box", "a disc", "zebra"]
QUESTIONS = ["what is beside the box?", "which?", "is there a disc, and what colour has it?"]


def losses_of(base, model, batch, smoothing=None):
    """The losses of all that a batch learns, without smoothing or with that of each row."""
    smoothing = torch.zeros(3) if smoothing is None else smoothing
    return token_losses(base, model, batch, LearnedTokens.of(base, batch["labels"], smoothing))


@pytest.fixture(params=[*VARIANTS, "generic"])
def base(request, checkpoints):
    folder = request.getfixturevalue("llava") if request.param == "generic" else None
    return load_base(Model(base=str(folder or checkpoints(request.param))), "none", CPU)


@pytest.fixture
def batch(base):
    """Rows with prompts and captions of different lengths."""
    samples = data.load(Data(source="shapes", limit=12)).splits["train"][:3]
    images = [base.family.encode(base, sample.open()) for sample in samples]
    builder = PromptBuilder(task="vqa")
    prompts = [builder.build(base.family, question, "image") for question in QUESTIONS]
    return collation.training_batch(base, images, prompts, CAPTIONS)


def full(base, batch):
    """Logits (batch, predictions, vocabulary) of a model that projects all positions, labels."""
    learned = learned_labels(base, batch["labels"])
    logits = base.model(**batch).logits[:, -batch["labels"].shape[1] :]
    return logits[:, : learned.shape[1]], learned


def projected_positions(base, call):
    """What the head gets and the result of `call`."""
    shapes = []
    hook = base.model.get_output_embeddings().register_forward_hook(
        lambda module, hidden, logits: shapes.append(tuple(logits.shape[:-1]))
    )
    result = call()
    hook.remove()
    return shapes, result


def test_losses_are_those_of_the_tokens_one_by_one(base, batch):
    with torch.no_grad():
        logits, labels = full(base, batch)
        shapes, own = projected_positions(base, lambda: losses_of(base, base.model, batch))
    expected = cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    rows = (labels != IGNORED).nonzero()[:, 0]
    assert own.dtype == torch.float32
    assert torch.allclose(own, expected[labels != IGNORED], rtol=0, atol=1e-5)
    assert shapes == [(len(rows),)]  # nothing else was projected


def test_their_mean_is_the_models_own_loss_with_its_gradients(base, batch):
    adapted = AdaptedBase(base)
    adapted.attach("one", Adapter(rank=4, alpha=8.0, dropout=0.0), seed=1)
    with torch.no_grad():
        for weight in adapted.parameters("one"):  # B is 0 at first, and so A's gradient
            weight.normal_(0.0, 0.2, generator=torch.Generator().manual_seed(3))
    losses, gradients = [], []
    for loss in (
        lambda: adapted.model(**batch).loss,
        lambda: losses_of(base, adapted.model, batch).mean(),
    ):
        losses.append(loss())
        losses[-1].backward()
        gradients.append([weight.grad.clone() for weight in adapted.parameters("one")])
        for weight in adapted.parameters("one"):
            weight.grad = None
    assert torch.allclose(*losses, rtol=0, atol=1e-5)
    assert max(grad.abs().max() for grad in gradients[0]) > 1e-3
    for own, other in zip(*gradients, strict=True):
        assert torch.allclose(own, other, rtol=1e-4, atol=1e-5)


def test_each_row_has_a_smoothing_of_its_own(base, batch):
    smoothing = torch.tensor([0.0, 0.1, 0.3])
    with torch.no_grad():
        logits, labels = full(base, batch)
        own = losses_of(base, base.model, batch, smoothing)
    rows = (labels != IGNORED).nonzero()[:, 0]
    for row, share in enumerate(smoothing.tolist()):
        expected = cross_entropy(logits[row], labels[row], label_smoothing=share)
        assert own[rows == row].mean() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("base", ["git"], indirect=True)
def test_an_adapted_head_sees_the_chosen_positions_too(base, batch):
    adapted = AdaptedBase(base)
    adapted.attach("one", Adapter(rank=4, targets="text_all_head"), seed=1)
    shapes, own = projected_positions(base, lambda: losses_of(base, adapted.model, batch))
    assert shapes == [own.shape]
    assert torch.allclose(own.mean(), adapted.model(**batch).loss, rtol=0, atol=1e-5)


@pytest.mark.parametrize("base", ["qwen2_5_vl"], indirect=True)
def test_a_model_without_a_known_head_projects_all_positions(base, batch, monkeypatch):
    with torch.no_grad():
        expected = losses_of(base, base.model, batch)
        monkeypatch.setattr(base.model, "get_output_embeddings", lambda: None)
        own = losses_of(base, base.model, batch)
    assert torch.allclose(own, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("base", ["paligemma"], indirect=True)
def test_a_cap_on_the_logits_stays(base, batch):
    base.model.config.get_text_config().final_logit_softcapping = 2.0
    with torch.no_grad():
        own = losses_of(base, base.model, batch).mean()
        assert torch.allclose(own, base.model(**batch).loss, rtol=0, atol=1e-5)


@pytest.mark.parametrize("base", ["blip2-t5"], indirect=True)
def test_the_scale_of_tied_embeddings_stays(base, batch):
    text = base.model.language_model
    with torch.no_grad():
        before = base.model(**batch).loss
        text.config.tie_word_embeddings = text.config.scale_decoder_outputs = True
        loss = base.model(**batch).loss
        own = losses_of(base, base.model, batch).mean()
    assert loss != before
    assert torch.allclose(own, loss, rtol=0, atol=1e-5)

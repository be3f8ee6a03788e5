"""What is said of the layers that adapters reach."""

from workers.models import checkpoint_files
from workers.models.targets import experts_note


def note(folder):
    files = checkpoint_files.find(str(folder), None)
    assert files is not None
    return experts_note(files.shapes)


def test_a_mixture_of_experts_says_what_stays_as_it_is(checkpoints):
    said = note(checkpoints("qwen3_5_moe"))
    assert said is not None
    assert said.endswith("target sets have attention, dense layers and shared experts")
    assert 0 < float(said.partition("%")[0]) < 100


def test_other_bases_have_no_experts(checkpoints):
    assert note(checkpoints("qwen3_vl")) is None

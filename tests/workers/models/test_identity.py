"""What a base model is, whatever it is called."""

import shutil

import pytest

from workers.models.identity import identity
from workers.recipe import Model


@pytest.fixture
def copy(untrained_base, tmp_path):
    return shutil.copytree(untrained_base, tmp_path / "copy")


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

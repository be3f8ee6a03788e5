"""What a checkpoint's files tell, against the loaded model."""

import pytest

from workers import families
from workers.models import checkpoint_files
from workers.tiny.checkpoints import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_tell_the_adapter_sizes_of_the_loaded_model(checkpoints, variant):
    folder = checkpoints(variant)
    files = checkpoint_files.find(str(folder), None)
    loaded = checkpoint_files.from_config(folder)
    for targets in families.get(files.model_type).TARGETS:
        size = files.adapter_weights(targets, rank=4)
        assert size == loaded.adapter_weights(targets, rank=4)
        assert size > 0


def test_a_base_that_is_not_here_is_none(tmp_path):
    assert checkpoint_files.find("nobody/nothing-at-all", None) is None
    assert checkpoint_files.find("not even a name", None) is None

"""Pictures for the families' own tests."""

import pytest
from PIL import Image


@pytest.fixture
def picture():
    return Image.effect_noise((90, 60), 64).convert("RGB")

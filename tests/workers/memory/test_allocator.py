import pytest

from workers.memory.allocator import NEW, OLD, expand_segments

EXPANDED = "expandable_segments:True"


@pytest.mark.parametrize(("torch", "name"), [("2.10.1", OLD), ("2.11.0+cu130", NEW), ("2.13", NEW)])
def test_the_name_is_one_that_this_torch_heeds(torch, name):
    environment = {}
    expand_segments(environment, torch)
    assert environment == {name: EXPANDED}


@pytest.mark.parametrize("name", [OLD, NEW])
def test_settings_of_the_user_stay(name):
    environment = {name: "max_split_size_mb:512"}
    expand_segments(environment)
    assert environment == {name: "max_split_size_mb:512"}

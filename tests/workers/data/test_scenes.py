from itertools import chain

from workers.data import scenes
from workers.data.scenes import Figure, Scene

SCENE = Scene(Figure("red", "circle"), "left of", Figure("blue", "square"))


def test_all_scenes_are_distinct_and_divided():
    known, held_out = set(scenes.known_scenes()), set(scenes.held_out_scenes())
    assert len(scenes.scenes()) == len(set(scenes.scenes())) == 612
    assert len(held_out) == 120
    assert not known & held_out
    assert known | held_out == set(scenes.scenes())


def test_wordings():
    assert scenes.base_caption(SCENE) == "red circle left of blue square"
    assert scenes.catalog_caption(SCENE) == "disc crimson beside box azure"
    assert scenes.target_captions(SCENE) == (
        "crimson disc beside azure box",
        "a crimson disc beside an azure box",
        "the crimson disc is beside the azure box",
    )


def test_target_wording_shares_no_word_with_the_base_wording():
    every = scenes.scenes()
    base = {word for scene in every for word in scenes.base_caption(scene).split()}
    captions = chain.from_iterable(scenes.target_captions(scene) for scene in every)
    assert not base & {word for caption in captions for word in caption.split()}


def test_drawing_depends_on_scene_and_seed_only():
    first = scenes.draw(SCENE, "1")
    assert first.mode == "RGB"
    assert first.size == (64, 64)
    assert first.tobytes() == scenes.draw(SCENE, "1").tobytes()
    assert first.tobytes() != scenes.draw(SCENE, "2").tobytes()


def test_each_scene_is_drawn_as_it_is_told():
    for scene in scenes.scenes()[::4]:
        if scene.first.color == scene.second.color:
            continue  # their pixels cannot be told apart
        image = scenes.draw(scene, "place")
        first, second = (_center(image, figure.color) for figure in (scene.first, scene.second))
        axis = 0 if scene.relation == "left of" else 1
        assert second[axis] - first[axis] > 20, scene


def _center(image, color):
    places = [
        (x, y)
        for y in range(image.height)
        for x in range(image.width)
        if image.getpixel((x, y)) == scenes.PAINTS[color]
    ]
    return tuple(sum(axis) / len(places) for axis in zip(*places, strict=True))

"""The division of images into splits: by shares or as listed, and always whole images.

Randomness comes from a hash of the seed and the image, never from an order, so the same images
divide the same way however their files or rows are sorted.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from workers.data.sample import SPLITS
from workers.recipe import Split

HELD_OUT_FIRST = ("test", "validation", "train")
"""Which split keeps an image that is in two splits: scores on held-out images stay comparable with
those of others who use the same lists, and train loses the smallest part of itself."""


def subset(ids: Iterable[str], limit: int | None, seed: int) -> list[str]:
    """Return `limit` of the ids (all for None), chosen by the seed, in sorted order."""
    if limit is None:
        return sorted(ids)
    return sorted(_shuffled(ids, f"limit {seed}")[:limit])


def subset_of_lists(listed: Mapping[str, Iterable[str]], limit: int | None, seed: int) -> list[str]:
    """Return `limit` of the listed ids as `subset` does, of each split in its proportion.

    A split keeps at least one id while the limit allows it, however few are chosen.
    """
    if limit is None or limit >= len(listed):
        return sorted(listed)
    ids_of: dict[str, list[str]] = {name: [] for name in HELD_OUT_FIRST}
    for id, names in listed.items():
        ids_of[next(name for name in HELD_OUT_FIRST if name in names)].append(id)
    chosen: list[str] = []
    for name, ids in ids_of.items():
        fair = max(1, round(limit * len(ids) / len(listed)))
        share = limit - len(chosen) if name == "train" else min(fair, len(ids))
        chosen += subset(ids, share, seed)
    return sorted(chosen)


def by_shares(contents: Mapping[str, str], split: Split, seed: int) -> dict[str, str]:
    """Return image id -> split, for `contents`: image id -> hash of the image's bytes.

    Distinct contents are divided, so copies of one image under several names end up in the
    same split. Ids beyond the sum of the shares are left out. A share above 0 gives validation
    and test at least one image; train may be left with none.
    """
    order = _shuffled(set(contents.values()), f"split {seed}")
    shares = {name: float(getattr(split, name)) for name in SPLITS}
    counts = {
        name: max(1, round(len(order) * share)) if share else 0 for name, share in shares.items()
    }
    used = round(len(order) * sum(shares.values()))
    counts["train"] = max(0, used - counts["validation"] - counts["test"])
    names = [name for name, count in counts.items() for _ in range(count)]
    split_of = dict(zip(order, names, strict=False))
    return {id: split_of[content] for id, content in contents.items() if content in split_of}


def by_lists(
    contents: Mapping[str, str], listed: Mapping[str, Iterable[str]]
) -> tuple[dict[str, str], list[str]]:
    """Return image id -> split, and a problem for each image that is in two splits.

    `listed` is image id -> the splits that name it. An image is in two splits by its name or
    by its bytes; it stays in the first of `HELD_OUT_FIRST` and is left out of the others.
    """
    split_of: dict[str, str] = {}
    keeper: dict[str, str] = {}
    problems = []
    for split in HELD_OUT_FIRST:
        for id in (id for id in contents if split in listed[id]):
            first = keeper.setdefault(contents[id], id)
            if split_of.get(first, split) == split:
                split_of[id] = split
                continue
            same = "also listed for" if first == id else f"the same image as {first} in"
            problems.append(f"{id}: listed for {split}, but {same} {split_of[first]}")
    return split_of, problems


def hold_out(
    split_of: Mapping[str, str], contents: Mapping[str, str], share: float, seed: int
) -> dict[str, str]:
    """Return `split_of` with a share of train's images, one at least, moved to validation.

    Copies of one image move together.
    """
    distinct = {contents[id] for id, split in split_of.items() if split == "train"}
    count = max(1, round(len(distinct) * share))
    moved = set(_shuffled(distinct, f"validation {seed}")[:count])
    return {
        id: "validation" if split == "train" and contents[id] in moved else split
        for id, split in split_of.items()
    }


def _shuffled(texts: Iterable[str], salt: str) -> list[str]:
    return sorted(texts, key=lambda text: sha256(f"{salt} {text}".encode()).digest())

import json

from benchmarks.launches import main


def test_counts_are_printed_for_programs(capsys):
    main(["--model", "git", "--slots", "1,2", "--json"])
    one, two = json.loads(capsys.readouterr().out)
    assert list(one) == ["slots", "launches", "syncs", "copies"]
    assert (one["slots"], two["slots"]) == (1, 2)
    assert 500 < one["launches"] < two["launches"] * 1.01

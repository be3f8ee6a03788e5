from sweeps.fleet import Fleet


def test_trials_go_to_the_host_with_the_fewest():
    fleet = Fleet(hosts=("a", "b", "c"))
    assert [fleet.place(number) for number in range(7)] == ["a", "b", "c", "a", "b", "c", "a"]
    for number in (1, 4):
        fleet.release(number)
    assert [fleet.place(number) for number in range(10, 15)] == ["b", "b", "b", "c", "a"]


def test_a_release_frees_one_place_once():
    fleet = Fleet(hosts=("a", "b"))
    fleet.place(0)
    fleet.release(0)
    fleet.release(0)
    fleet.release(99)
    assert fleet.trials == {}
    assert fleet.place(1) == "a"


def test_trials_of_a_host_that_is_gone_do_not_count():
    fleet = Fleet(hosts=("a", "b"), trials={0: "gone", 1: "a"})
    assert fleet.place(2) == "b"

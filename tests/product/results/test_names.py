"""How runs are named and found: short ids, pieces of ids, @last, @best, values of keys."""

from __future__ import annotations

import pytest
from handmade import write_run

from ztxexp import ConfigError, ExperimentPipeline
from ztxexp.results.names import NamedRuns, short_ids
from ztxexp_core.values.identity import config_identity, digits_of


def find_runs(root, text):
    runs = NamedRuns.of(root)
    return [runs.folders[at] for at in runs.find(text)]


def find_run(root, text):
    runs = NamedRuns.of(root)
    return runs.folders[runs.one(text)]


def put(root, name, seed, status="succeeded", lr=0.1, at="10:00:00", stored=True, **metrics):
    config = {"lr": lr, "net": {"width": 8}, "seed": seed}
    more = {"identity": config_identity(config)} if stored else {}
    start = f"2026-03-01T{at}+00:00"
    write_run(root, name, status, config=config, metrics=metrics, started_at=start, **more)
    return digits_of(config_identity(config))


@pytest.fixture
def root(tmp_path):
    """Three configurations; of the second there are two runs."""
    put(tmp_path, "20260301_100000_aaaa", 0, accuracy=0.9, loss=0.3, width=1)
    put(tmp_path, "20260301_100001_bbbb", 1, "failed", at="10:00:01")
    put(tmp_path, "20260301_100002_cccc", 1, at="10:00:02", accuracy=0.8, loss=0.1)
    put(tmp_path, "20260301_100003_dddd", 2, "failed", lr=1 / 3, at="10:00:03")
    return tmp_path


@pytest.mark.slow
def test_a_short_id_has_four_digits_and_more_where_two_agree():
    assert short_ids(["1:3f2ab1c0", "1:3f2ac770", "1:9b0c1d2e"]) == {
        "1:3f2ab1c0": "3f2ab",
        "1:3f2ac770": "3f2ac",
        "1:9b0c1d2e": "9b0c",
    }
    assert short_ids([]) == {} and short_ids(["1:12"]) == {"1:12": "12"}
    many = [config_identity({"seed": seed}) for seed in range(3000)]
    short = short_ids(many)
    assert len(set(short.values())) == 3000 and min(map(len, short.values())) == 4
    for identity, one in short.items():
        assert [other for other in many if digits_of(other).startswith(one)] == [identity]


def test_versions_of_the_code_have_short_ids_of_their_own():
    identity = config_identity({"lr": 1})
    assert len(set(short_ids([identity, f"{identity}@a", f"{identity}@b"]).values())) == 3


def test_a_name_is_the_short_id_with_the_keys_that_vary(root):
    runs = NamedRuns.of(root)
    first = put(root, "again", 0)[:4]
    assert runs.name(0) == f"{first}  lr=0.1 seed=0"
    assert runs.short[1] == f"{runs.short[2]}~1" and runs.label(3) == "lr=0.333333 seed=2"


def test_runs_of_earlier_versions_get_their_identity_from_the_configuration(tmp_path):
    one = put(tmp_path, "a", 1, stored=False)
    two = put(tmp_path, "b", 2)
    assert NamedRuns.of(tmp_path).short == [one[:4], two[:4]]


def test_all_ways_to_name_a_run(root):
    short = NamedRuns.of(root).short
    for text in ("20260301_100002_cccc", "cccc", short[2], "seed=1,lr=0.1", "@best:loss"):
        found = find_runs(root, text)
        assert found[-1] == "20260301_100002_cccc", text
    assert find_runs(root, short[1]) == ["20260301_100001_bbbb"]
    assert find_runs(root, "@best:loss~1") == ["20260301_100001_bbbb"]
    assert find_runs(root, f"{short[0]}~0") == ["20260301_100000_aaaa"]
    assert find_runs(root, "@last") == find_runs(root, "lr=0.333333") == ["20260301_100003_dddd"]
    assert find_runs(root, "@best:accuracy") == ["20260301_100000_aaaa"]
    assert find_runs(root, "@failed") == ["20260301_100001_bbbb", "20260301_100003_dddd"]
    assert find_runs(root, "seed=0,2") == ["20260301_100000_aaaa", "20260301_100003_dddd"]
    assert find_runs(root, "net.width=8,seed=2") == ["20260301_100003_dddd"]
    assert find_run(root, f"{root}/20260301_100003_dddd/") == "20260301_100003_dddd"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("20260301_1", r"could be 4 runs; give more of the id:\n  [0-9a-f]{4}.*seed=0  \(2026.*\n"),
        ("nope", "no run below .* has the id 'nope'; ztxexp list -C .* shows the runs"),
        ("20260301_100003_ddde", "did you mean '20260301_100003_dddd'"),
        ("@lst", "did you mean '@last'"),
        ("@best:", "@best:METRIC"),
        ("@best:accurcy", "did you mean 'accuracy'|Its name does not say"),
        ("@best:width", "--max or --min"),
        ("sed=1", "did you mean 'seed'"),
        ("seed=7", "no run below .* has seed=7"),
        ("cccc~5", "there are 2 runs of the configuration"),
        ("", "a non-empty string"),
    ],
)
def test_a_name_that_means_no_single_run_is_refused(root, text, said):
    with pytest.raises(ConfigError, match=said):
        find_run(root, text)


def test_what_may_be_several_runs_names_no_single_one(root):
    with pytest.raises(ConfigError, match=r"'@failed' could be 2 runs"):
        find_run(root, "@failed")


def test_an_empty_root_has_no_run(tmp_path):
    for text in ("3f2a", "@last", "@failed"):
        with pytest.raises(ConfigError, match="no run"):
            find_run(tmp_path, text)


def test_hostile_names_and_values_do_not_reach_the_message_raw(tmp_path):
    for seed in (1, 2):
        config = {"evil\x1b[31m\n": f"\x1b]0;x\x07{seed}\nnext"}
        write_run(tmp_path, f"run{seed}", config=config)
    with pytest.raises(ConfigError) as caught:
        find_run(tmp_path, "run")
    assert "\x1b" not in str(caught.value) and "\x07" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_values_are_written_as_in_a_sweep(tmp_path):
    ExperimentPipeline(tmp_path).grid({"lr": [0.001, 0.01], "layers": [[64, 64], [8]]}).run(
        lambda ctx: None, progress=False
    )
    assert len(find_runs(tmp_path, "lr=1e-3,1e-2")) == 4
    assert len(find_runs(tmp_path, "layers=[64, 64],lr=.01")) == 1
    with pytest.raises(ConfigError, match="begins with no key"):
        find_runs(tmp_path, "0.1,lr=0.01")

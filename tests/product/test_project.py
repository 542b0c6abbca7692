"""What a project says once: ``ztxexp.toml`` and ``[tool.ztxexp]``."""

from __future__ import annotations

from pathlib import Path

import pytest

from ztxexp.project import project, results_root
from ztxexp_core.errors import ConfigError


def test_the_nearest_file_above_counts_and_an_own_file_before_a_shared_one(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert project(deep).file is None
    (tmp_path / "pyproject.toml").write_text('[tool.ztxexp]\nresults = "out"\n')
    assert project(tmp_path / "a").results == "out"
    (tmp_path / "a" / "pyproject.toml").write_text('[project]\nname = "ztxexp-study"\n')
    (tmp_path / "a" / "ztxexp.toml").write_text('[metrics]\naccuracy = "max"\n')
    assert project(deep / "c").metrics == {"accuracy": "max"}


@pytest.mark.parametrize(
    "text, said",
    [
        ("result = 'x'", "unknown key 'result' (did you mean 'results'?)"),
        ("results = 3", "results must be a folder"),
        ("[metrics]\nloss = 'low'", 'metrics.loss must be "max" or "min"'),
        ("metrics = 3", "metrics must be a table"),
        ("a = ", "is not valid TOML"),
    ],
)
def test_what_no_project_can_say_names_file_and_key(tmp_path, text, said):
    (tmp_path / "ztxexp.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        project(tmp_path)
    assert said in str(error.value) and str(tmp_path / "ztxexp.toml") in str(error.value)


def test_the_root_is_the_given_one_then_the_variable_then_the_project_then_results(
    tmp_path, monkeypatch
):
    (tmp_path / "sub").mkdir()
    monkeypatch.delenv("ZTXEXP_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path / "sub")
    assert results_root() == Path("results")
    (tmp_path / "ztxexp.toml").write_text('results = "runs"')
    from ztxexp import project as module

    module._project_above.cache_clear()
    assert results_root() == tmp_path / "runs"
    monkeypatch.setenv("ZTXEXP_RESULTS", "elsewhere")
    assert results_root() == Path("elsewhere")
    assert results_root("given") == Path("given")

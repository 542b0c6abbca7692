"""Messages name arguments in Python and options in a shell."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from ztxexp import ConfigError, ResultAnalyzer
from ztxexp.cli.main import main
from ztxexp.text.wording import either, for_shell, option


def test_a_message_is_for_the_shell_within_the_block_only():
    with for_shell():
        assert (either("mode='max'", "--max"), option("keep_best")) == ("--max", "--keep-best")
    assert (either("mode='max'", "--max"), option("keep_best")) == ("mode='max'", "keep_best")


def test_commands_say_options_and_functions_say_arguments(tmp_path):
    with pytest.raises(ConfigError, match='as in keep_best=3, metric="score"'):
        ResultAnalyzer(tmp_path).gc(keep_best=1)
    result = CliRunner().invoke(main, ["gc", "-C", str(tmp_path), "--keep-best", "1"])
    assert result.exit_code == 2
    assert "--keep-best and --metric go together, as in --keep-best 3 --metric" in result.stderr

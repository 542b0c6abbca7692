"""``ztxexp completion``: what a shell needs to complete commands, runs, metrics and keys."""

from __future__ import annotations

import click

SETUP = {
    "bash": ("~/.bashrc", 'eval "$(ztxexp completion bash)"'),
    "zsh": ("~/.zshrc", 'eval "$(ztxexp completion zsh)"'),
    "fish": ("~/.config/fish/config.fish", "ztxexp completion fish | source"),
}

# train.py:train and @best:accuracy are one word, and after key= comes a value.
_BASH = """\
COMP_WORDBREAKS=${COMP_WORDBREAKS//[:@]/}
_ztxexp_words() {
    _ztxexp_completion "$@"
    [[ ${COMPREPLY[0]} == *[=:] ]] && compopt -o nospace
    return 0
}
complete -o nosort -F _ztxexp_words ztxexp"""


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SETUP)))
def command(shell: str) -> int:
    """Print the script that makes a SHELL complete what is typed after `ztxexp`.

    To have it in every terminal, add to ~/.bashrc: eval "$(ztxexp completion bash)"; to ~/.zshrc:
    eval "$(ztxexp completion zsh)"; for fish: ztxexp completion fish | source.
    """
    from click.shell_completion import get_completion_class

    from ztxexp.cli.main import main

    complete = get_completion_class(shell)
    assert complete is not None  # the choice above
    click.echo(complete(main, {}, "ztxexp", "_ZTXEXP_COMPLETE").source())
    if shell == "bash":
        click.echo(_BASH)
    return 0

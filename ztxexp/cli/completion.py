"""``ztxexp completion``: what a shell needs to complete commands, runs, metrics and keys."""

from __future__ import annotations

import click

SETUP = {
    "bash": ("~/.bashrc", 'eval "$(ztxexp completion bash)"'),
    "zsh": ("~/.zshrc", 'eval "$(ztxexp completion zsh)"'),
    "fish": ("~/.config/fish/config.fish", "ztxexp completion fish | source"),
}


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
    return 0

"""masking: what is no longer in a command line or a patch, and what still is."""

from __future__ import annotations

import shlex

import pytest

from ztxexp.provenance.masking import command_line, is_secret_file, mask_command, mask_patch

SECRET = "s3cr3t-Wert"


@pytest.mark.parametrize(
    "argv",
    [
        [f"--api-key={SECRET}"],
        [f"--api_key={SECRET}"],
        ["--api-key", SECRET],
        ["--password", SECRET],
        ["--db-passwd", SECRET],
        ["--token", SECRET],
        ["--hf-token", SECRET],
        ["--TOKEN", SECRET],
        ["-token", SECRET],
        ["--client-secret", SECRET],
        ["--credentials", SECRET],
        [f"--secret=a={SECRET}"],
        [f"--password={SECRET} and more"],
        ["--password", f"{SECRET} with spaces"],
        ["--password", f"x={SECRET}"],
        [f"db.password={SECRET}"],
        [f"+db.api_key={SECRET}"],
        [f"++trainer.wandb.token={SECRET}"],
        [f"WANDB_API_KEY={SECRET}"],
        [f"--set=db.password={SECRET}"],
        ["--set", f"db.password={SECRET}"],
        [f"postgres://user:{SECRET}@host/db"],
        [f"--db=postgres://user:{SECRET}@host/db"],
        [f"--uri=https://{SECRET}@host:5000/path?x=1"],
        [f"url=mysql+pymysql://u:{SECRET}@h/d"],
        [f"postgres://user:p@{SECRET}@host/db"],
        [f"http://a:{SECRET}@h1,http://b:{SECRET}@h2"],
        ["--密钥-key", SECRET],
    ],
    ids=lambda argv: " ".join(argv),
)
def test_a_secret_is_masked(argv: list[str]) -> None:
    line = mask_command(["train.py", *argv, "--lr", "0.1"])
    assert SECRET not in line
    assert "***" in line
    assert line.startswith("train.py ")
    assert line.endswith(" --lr 0.1")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["train.py"], "train.py"),
        ([], ""),
        (["a", "--api-key", "abc", "--lr", "1"], "a --api-key *** --lr 1"),
        (["a", "--db=postgres://u:pw@host/db"], "a '--db=postgres://***@host/db'"),
        (["a", "db.password=x", "db.name=y"], "a db.password=*** db.name=y"),
        (["a", "--token", "--lr", "0.1"], "a --token --lr 0.1"),
        (["a", "--token"], "a --token"),
        (["a", "--token=x", "next"], "a --token=*** next"),
        (["a", "--name", "数据集 一", "--标签=训练"], "a --name '数据集 一' '--标签=训练'"),
        (["a", "https://host/path@v2"], "a https://host/path@v2"),
        (["a", "user@host"], "a user@host"),
        (["a", "it's", "", "$HOME"], """a 'it'"'"'s' '' '$HOME'"""),
    ],
)
def test_a_command_line_reads_as_typed_except_for_secrets(argv: list[str], line: str) -> None:
    assert mask_command(argv) == line


def test_a_line_without_secrets_can_be_typed_again() -> None:
    argv = ["train.py", "a b", "x=1", "'q'", "数据", "--n=3", "*", ""]
    assert shlex.split(mask_command(argv)) == argv


@pytest.mark.parametrize(
    "argv",
    [
        [f'{{"api_key": "{SECRET}", "n": 3}}'],
        [f'--config={{"db": {{"password": "{SECRET} \\" x"}}}}'],
        [f"{{'hf_token': '{SECRET}'}}"],
        ["--set", f"{{token: {SECRET}}}"],
        ["-H", f"X-Api-Key: {SECRET}"],
        ["-H", f"Authorization: Bearer {SECRET}"],
        [f"https://host/path?access_token={SECRET}&page=2"],
        [f"lr=0.1,wandb.api_key={SECRET}"],
        ["--hfToken", SECRET],
        ["--HFToken", SECRET],
        [f"--awsSecretAccessKey={SECRET}"],
        ["--pass", SECRET],
        [f"--db-pwd={SECRET}"],
        ["--passphrase", SECRET],
        ["--authorization", SECRET],
        ["--session-cookie", SECRET],
        [f"--密码={SECRET}"],
    ],
    ids=lambda argv: " ".join(argv),
)
def test_a_secret_inside_of_a_word_is_masked(argv: list[str]) -> None:
    test_a_secret_is_masked(argv)


@pytest.mark.parametrize(
    "token",
    [
        "hf_" + "aBcD1234" * 4,
        "sk-proj-" + "aB1-cD2_" * 4,
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "A1b2" * 8,
        "glpat-" + "xY3z" * 5,
        "xoxb-123456789012-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "AIza" + "aB3-" * 9,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "dGhpcyBpcyBhIHNlY3JldCB2YWx1ZSAxMjM0NTY=",
    ],
)
@pytest.mark.parametrize("frame", ["{}", "-p={}", "--id={}", "login:{}", "[{}]", "x {} y"])
def test_a_token_is_known_by_its_shape_wherever_it_stands(token: str, frame: str) -> None:
    line = mask_command(["train.py", frame.format(token), "--lr", "0.1"])
    assert token not in line and "***" in line and line.endswith(" --lr 0.1")


@pytest.mark.parametrize(
    "argv",
    [
        ["--max-tokens", "512"],
        ["model.max_new_tokens=1_000"],
        ["--num-keys=4"],
        ["--tokenizer", "bert-base"],
        ["--keypoints=17", "--author", "me", "--keyframe", "3"],
        ["ResNet50-ImageNet-lr01-bs256-seed42-v2"],
        ["--commit", "2c4fe744144f3037e9c78262f03c5c68e16ac743"],
        ["/data/ImageNet2012/train/ClassAB/Subset12/part0001"],
        ["20260301_101500_05f0c3d1a2b3c4d"],
        ["--task-id", "disk-usage-of-the-whole-cluster"],
        ["-p", "8080"],
        ["s3://bucket/prefix", "C:\\data\\x", "a:b"],
    ],
    ids=lambda argv: " ".join(argv),
)
def test_what_only_resembles_a_secret_stands_as_it_was_typed(argv: list[str]) -> None:
    assert shlex.split(mask_command(argv)) == argv


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("python train.py --lr 1", "python train.py --lr 1"),
        ("python -m pkg.train -c x", "python -m pkg.train -c x"),
        ("python -c code --token t", "python -c ... --token ***"),
        ("python -uc code a", "python -uc ... a"),
        ("python -ccode a", "python -c ... a"),
        ("python -W ignore -X dev -c code", "python -W ignore -X dev -c ..."),
        ("python -Wignore -I t.py -c x", "python -Wignore -I t.py -c x"),
        ("python", "python"),
        ("", None),
    ],
)
def test_the_line_that_started_python_is_told_without_a_program_in_it(
    argv: str, line: str | None
) -> None:
    assert command_line(argv.split()) == line


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        (".env", True),
        (".env.local", True),
        ("id_ed25519", True),
        ("server.PEM", True),
        ("my-credentials.json", True),
        ("secrets.yaml", True),
        ("api_keys.txt", True),
        ("env.py", False),
        ("environment.yml", False),
        ("tokenizer.json", False),
        ("keyboard.py", False),
        ("secretary.py", False),
    ],
)
def test_files_that_secrets_are_kept_in_are_known_by_their_names(name: str, secret: bool) -> None:
    assert is_secret_file(name) is secret


def test_only_added_lines_of_a_patch_are_masked_and_other_bytes_stay() -> None:
    token = b"hf_" + b"aB1" * 8
    lines = [b"+++ b/" + token, b"@@ -1 +1,3 @@", b" " + token, b"-" + token, b"+\xff\r" + token]
    patch, count = mask_patch(b"\n".join([*lines, b"+" + token + b" " + token + b" hf_short", b""]))
    assert count == 3
    assert patch.split(b"\n") == [*lines[:4], b"+\xff\r***", b"+*** *** hf_short", b""]


def test_a_patch_without_tokens_stays_the_same() -> None:
    patch = b"+ task-force sk-1 \xff\n"
    assert mask_patch(patch) == (patch, 0)

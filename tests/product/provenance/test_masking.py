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
    data = b"\n".join([*lines, b"+" + token + b" " + token + b" hf_short", b""])
    patch, count, left_out = mask_patch(data)
    assert (count, left_out) == (3, [])
    assert patch.split(b"\n") == [*lines[:4], b"+\xff\r***", b"+*** *** hf_short", b""]


def test_a_patch_without_secrets_stays_the_same() -> None:
    patch = b"+ task-force sk-1 \xff\n"
    assert mask_patch(patch) == (patch, 0, [])


def masked(name: str, line: str) -> str:
    """Return the line as it is in the patch of a new file of that name."""
    head = f"diff --git a/{name} b/{name}\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n"
    patch, count, _ = mask_patch(f"{head}+{line}\n".encode())
    text = patch.decode().removeprefix(f"{head}+").removesuffix("\n")
    assert count == text.count("***") - line.count("***")
    return text


@pytest.mark.parametrize(
    ("name", "line", "becomes"),
    [
        ("a.yaml", "wandb_api_key: 0123abcd", "wandb_api_key: ***"),
        ("a.yaml", "  - password: two words # note", "  - password: *** # note"),
        ("a.yaml", "{password: hunter2, user: x}", "{password: ***, user: x}"),
        ("a.yaml", "token: hunter", "token: ***"),
        ("a.yaml", "db: postgres://u:pw@h/db", "db: postgres://***@h/db"),
        ("a.yaml", "u: https://h/p?access_token=ab&p=2", "u: https://h/p?access_token=***&p=2"),
        ("a.yaml", "密码: abc", "密码: ***"),
        ("a.json", '"password": "a\\"b", "n": 1', '"password": "***", "n": 1'),
        ("a.ini", "password=two words", "password=***"),
        ("a.toml", "hf_token = 'abc' # note", "hf_token = '***' # note"),
        ("a.xml", "<password>abc</password>", "<password>***</password>"),
        ("a.sh", "export HF_TOKEN=abc python x.py", "export HF_TOKEN=*** python x.py"),
        ("a.sh", "python x.py --api-key abc --lr 1", "python x.py --api-key *** --lr 1"),
        ("a.sh", "curl -H 'Authorization: Bearer abc'", "curl -H 'Authorization: ***'"),
        ("Dockerfile", "ENV WANDB_API_KEY abc1", "ENV WANDB_API_KEY ***"),
        ("a.py", 'password = "hunter"', 'password = "***"'),
        ("a.py", "api_key: str = 'abc'", "api_key: str = '***'"),
        ("a.py", 'os.environ["HF_TOKEN"] = "abc123"', 'os.environ["HF_TOKEN"] = "***"'),
        ("a.py", 'setdefault("WANDB_API_KEY", "abc")', 'setdefault("WANDB_API_KEY", "***")'),
        ("a.py", 'login(key="0123abcd")', 'login(key="***")'),
        ("a.py", 'connect("user=x password=hunter2")', 'connect("user=x password=***")'),
        ("a.py", '{"Authorization": "Bearer abc12345"}', '{"Authorization": "Bearer ***"}'),
        ("a.py", "x = 'mysql://u:pw@h/d'", "x = 'mysql://***@h/d'"),
        ("a.py", "# token: abc1234", "# token: ***"),
        ("a.ipynb", '"password = \\"hunter2\\"\\n",', '"password = \\"***\\"\\n",'),
    ],
)  # fmt: skip
def test_a_secret_in_a_file_is_masked(name: str, line: str, becomes: str) -> None:
    assert masked(name, line) == becomes
    assert masked(name, becomes) == becomes


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.py", "key, sub = jax.random.split(key2)"),
        ("a.py", "for key in sorted(keys, key=len):"),
        ("a.py", "f(password=pw, token=token2, api_key=args.api_key)"),
        ("a.py", "token = tokenizer.encode(text)[0]"),
        ("a.py", 'api_key = os.environ.get("WANDB_API_KEY", "")'),
        ("a.py", 'parser.add_argument("--api-key", "-k", help="the key to use")'),
        ("a.py", 'print("password:" + x + "y")'),
        ("a.py", 'print("password:", "x")'),
        ("a.py", 'raise ValueError("api_key: must be given")'),
        ("a.py", 'headers = {"Authorization": f"Bearer {token}"}'),
        ("a.py", 'url = f"https://{user}:{password}@{host}/x"'),
        ("a.py", "pad_token = '<pad>'; first_pass = 'encode'; sort_key = 'val_loss'"),
        ("a.yaml", "pad_token: <pad>"),
        ("a.yaml", "sort_key: val_loss"),
        ("a.yaml", "max_tokens: 512"),
        ("a.yaml", "token: ${oc.env:TOKEN}"),
        ("a.yaml", "api_key_from: WANDB_API_KEY"),
        ("a.yaml", "use_auth: true"),
        ("requirements.txt", "x @ git+ssh://git@github.com/a/x.git"),
        ("a.sh", "TOKEN=$(cat file)"),
        ("a.sh", "for key in a b; do"),
        ("README.md", "The password: keep it to yourself"),
    ],
)
def test_code_and_what_stands_for_a_value_elsewhere_stay(name: str, line: str) -> None:
    assert masked(name, line) == line


def test_the_lines_of_a_private_key_are_masked() -> None:
    lines = ["-----BEGIN RSA PRIVATE KEY-----", "abc", "def", "-----END RSA PRIVATE KEY-----"]
    patch, count, _ = mask_patch("".join(f"+{line}\n" for line in lines).encode())
    assert (patch.decode().split("\n")[1:3], count) == (["+***", "+***"], 1)


@pytest.mark.parametrize("line", ["a:" * 50_000, "http://" * 20_000, "' " * 50_000, " " * 100_000])
def test_long_lines_take_time_in_proportion_to_their_length(line: str) -> None:
    patch = f"diff --git a/x.py b/x.py\n+{line}\n".encode()  # squared, it would be minutes
    assert mask_patch(patch) == (patch, 0, [])

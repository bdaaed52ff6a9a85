"""The commands of the README, run as they stand there, in the order in which they stand there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from support.paths import README, clean_env, kpid_binary

PROMPT = "$ "
# A network of its own, so that port 8080 is free; where that may not be had, the port has to be.
ALONE = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
STARTED = """
until curl -s localhost:8080/livez >/dev/null; do sleep 0.05; kill -0 $!; done
"""


def code_blocks(text: str) -> list[list[str]]:
    """The indented blocks, without their indentation."""
    blocks, block = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("    "):
            block.append(line[4:])
        elif block and line.strip():
            blocks.append(block)
            block = []
    return [*blocks, block] if block else blocks


class Command:
    """A command of the README and what it says of its output."""

    def __init__(self, line: str):
        self.line = line
        self.shown: list[str] = []

    def pattern(self) -> str:
        """What the output has to match: blanks do not count, `...` and ids stand for anything."""
        text = "".join("".join(self.shown).split())
        text = re.escape(text).replace(re.escape("..."), ".*")
        return re.sub(r"[0-9a-f]{8}(\\-[0-9a-f]{4}){3}\\-[0-9a-f]{12}", "[0-9a-f-]{36}", text)


def commands_of(text: str) -> list[Command]:
    """What stands after a prompt, and lines that begin with curl."""
    found: list[Command] = []
    for block in code_blocks(text):
        is_shown = False
        for line in block:
            if line.startswith((PROMPT, "curl ")):
                found.append(Command(line.removeprefix(PROMPT)))
                is_shown = line.startswith(PROMPT)
            elif is_shown and found and line:
                found[-1].shown.append(line)
    return found


def session(commands: list[Command], folder: Path) -> str:
    """A script that writes the output of command n to the file n."""
    lines = ["set -e -o pipefail"]
    for n, command in enumerate(commands):
        is_server = command.line.endswith("&")
        lines.append(f"{{ {command.line}\n}} >{folder}/{n}")
        if is_server:
            lines.append(STARTED)
    return "\n".join([*lines, "kill $!", "wait $!"])


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """The commands, and the folder with their outputs."""
    folder = tmp_path_factory.mktemp("readme")
    commands = commands_of(README.read_text(encoding="utf-8"))
    script = session(commands, folder).replace("/tmp/shop", f"{folder}/shop")
    env = clean_env(PATH=f"{folder / 'bin'}:{os.environ['PATH']}", HOME=str(folder))
    (folder / "bin").mkdir()
    (folder / "bin" / "kpid").symlink_to(kpid_binary())
    can_be_alone = subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0
    done = subprocess.run(
        [*(ALONE if can_be_alone else []), "bash", "-c", script],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return commands, folder


def test_every_curl_of_the_readme_is_run(tour):
    commands, _ = tour
    text = README.read_text(encoding="utf-8")
    written = len(re.findall(r"(?:`|\$ |\$\(|^ {4})curl ", text, re.M))
    run = sum(len(re.findall(r"\bcurl ", command.line)) for command in commands)
    assert run == written >= 7


def test_what_the_readme_shows_is_what_comes_out(tour):
    commands, folder = tour
    shown = [(n, command) for n, command in enumerate(commands) if command.shown]
    assert len(shown) >= 4
    for n, command in shown:
        output = (folder / str(n)).read_text(encoding="utf-8").replace(str(folder), "/tmp")
        output = "".join(output.split())
        assert re.search(command.pattern(), output), f"{command.line}\n{output}\n{command.pattern()}"


def test_what_would_be_wrong_in_the_readme_is_seen():
    command = Command("x")
    command.shown = ['{"id":"01a20e21-453b-7001-ac6e-0d1339831b82", ...', ' "orders":645, ...}']
    assert re.search(command.pattern(), '{"id":"00000000-0000-0000-0000-000000000000","a":1,"orders":645,"b":2}')
    assert not re.search(command.pattern(), '{"id":"00000000-0000-0000-0000-000000000000","a":1,"orders":646,"b":2}')

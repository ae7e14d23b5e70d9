"""The README, executed: ``python -m tests.readme`` writes into it what its commands print.

A ``console`` block holds commands after ``$`` and their output; the first ``yaml`` block
is the file that the first command runs; the table of examples is that of `sim examples`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- examples -->", "<!-- end of examples -->"

Run = Callable[[list[str]], str]


def executed(text: str, run: Run) -> str:
    """The text with every console block's output produced anew.

    Parameters
    ----------
    run : callable
        What ``sim`` prints (stdout, then stderr) with these arguments.
    """

    def block(match: re.Match[str]) -> str:
        out = ""
        for command in re.findall(r"^\$ (.+)$", match.group(1), re.MULTILINE):
            program, *arguments = shlex.split(command)
            assert program == "sim", command
            out += f"$ {command}\n{run(arguments)}"
        return f"```console\n{out}```"

    text = re.sub(r"```console\n(.*?)```", block, text, flags=re.DOTALL)
    source = (ROOT / "configs" / "1000req.yaml").read_text(encoding="utf-8")
    shown = f"```yaml\n{source}```"
    text = re.sub(r"```yaml\n.*?```", lambda _: shown, text, count=1, flags=re.DOTALL)
    table = f"{BEGIN}\n{questions(run)}{END}"
    return re.sub(f"{BEGIN}\n.*?{END}", lambda _: table, text, flags=re.DOTALL)


def questions(run: Run) -> str:
    """A row for each scenario that `sim examples` lists: its question, and its file."""
    rows = ["| question | scenario |", "|---|---|"]
    for line in run(["examples"]).split("\n\n")[0].splitlines():
        name, question = line.split(maxsplit=1)
        rows.append(f"| {question.replace('|', '/')} | [`{name}`](configs/{name}.yaml) |")
    return "\n".join(rows) + "\n"


def main() -> None:
    from typer.testing import CliRunner

    import cli

    def run(arguments: list[str]) -> str:
        result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
        return result.stdout + result.stderr

    README.write_text(executed(README.read_text(encoding="utf-8"), run), encoding="utf-8")


if __name__ == "__main__":
    main()

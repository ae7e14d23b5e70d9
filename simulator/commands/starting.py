"""What ``sim init`` does: the text of a template, or of what a FastAPI app shows of itself."""

from __future__ import annotations

import shlex
from pathlib import Path

from simulator.commands import console


def text_of(template: str, app: str | None) -> str:
    """The scenario to begin with, or exit 2 with what is wrong."""
    if app is not None:
        from simulator.scenario.from_app import AppError, from_app

        try:
            return from_app(app)
        except AppError as error:
            console.usage(f"--from-app: {error}")
    from simulator.scenario import templates

    known = templates()
    if template not in known:
        console.usage(f"no template called '{template}', expected one of: {', '.join(known)}")
    return known[template].read_text(encoding="utf-8")


def hint(template: str, app: str | None) -> str:
    """How to write it to a file, and what else there is."""
    if app is not None:
        return f"sim init --from-app {shlex.quote(app)} -o my.yaml writes it"
    from simulator.scenario import templates

    others = ", ".join(name for name in templates() if name != template)
    return f"sim init {template} -o my.yaml writes it; also: {others}"


def begin(template: str, app: str | None, out: Path | None) -> None:
    """Print the scenario to begin with, or write it where nothing is yet."""
    text = text_of(template, app)
    if out is None:
        console.show(text)
        console.tell(f"\n{hint(template, app)}")
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        console.usage(f"{out} is there already, expected a new file")
    except OSError as error:
        console.usage(f"can't write {out}: {error.strerror}")
    console.tell(f"written: {out}\nnext: sim run {shlex.quote(str(out))}")

"""The scenarios that come with the simulator, each a question and its answer."""

from __future__ import annotations

from pathlib import Path


def examples() -> list[tuple[str, str, Path]]:
    """Name, question and path of each scenario that ships with the package, by name."""
    # `configs` stands beside `simulator`, in a checkout as when installed.
    folder = Path(__file__).resolve().parents[2] / "configs"
    return [(path.stem, _question(path), path) for path in sorted(folder.glob("*.yaml"), key=_stem)]


def templates() -> dict[str, Path]:
    """The beginnings of scenarios for `sim init`, by name."""
    folder = Path(__file__).parent / "templates"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=_stem)}


def _stem(path: Path) -> str:
    return path.stem


def _question(path: Path) -> str:
    """The first comment line that is not an instruction to an editor."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#") and text and not text.startswith("yaml-language-server"):
            return text
        if not line.startswith("#"):
            break
    return ""

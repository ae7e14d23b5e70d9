"""A document as YAML text."""

from __future__ import annotations

from io import StringIO

from simulator.scenario.resolve import Document


def dumps(document: Document) -> str:
    """YAML 1.2 that reads back as the same document: what `sim validate --resolved` prints."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # innermost collections in one line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 160
    out = StringIO()
    yaml.dump(document, out)
    return out.getvalue()

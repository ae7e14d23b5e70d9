"""Why a scenario is left to the other engine."""

from __future__ import annotations


class NotCompiled(Exception):
    """The compiled engine does not run this plan; the message says what is in the way."""

"""How the failure of a request travels up through its steps."""


class Failed(Exception):
    """A request failed; carries the outcome."""

    def __init__(self, outcome: int) -> None:
        self.outcome = outcome

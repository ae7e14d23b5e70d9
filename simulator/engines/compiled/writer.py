"""What writes instructions into the store, and places of a program that are not known yet."""

from __future__ import annotations

from simulator.engines.compiled import code
from simulator.engines.compiled.store import Store
from simulator.engines.contract import BACKOFF


class Label:
    """A place in a program that is not known yet."""

    def __init__(self) -> None:
        self.at = -1


class Writer:
    """Instructions one after the other; their labels get addresses when they are placed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lines: list[list[int | Label]] = []
        self.tables: list[tuple[int, list[int | Label]]] = []
        self.client, self.steps, self.handler = Label(), Label(), Label()

    def mark(self, label: Label) -> None:
        """The label stands for what comes next."""
        label.at = len(self.lines)

    def emit(self, op: int, *operands: int | Label) -> None:
        """One more instruction."""
        line: list[int | Label] = [op, *operands]
        self.lines.append(line + [0] * (code.WORDS - len(line)))

    def hold(self, ns: int, cause: int, frees: int) -> None:
        """Hold for a time that is known beforehand, if it is any."""
        if ns:
            self.emit(code.SET_NS, ns)
            self.emit(code.HOLD, cause, frees)

    def turn(self, if_any: int) -> None:
        """Go on a turn of the loop later, if this is any."""
        if if_any:
            self.emit(code.CHECKPOINT, 0)

    def pause(self, frees: int, again: Label) -> None:
        """Wait for NS, then try again."""
        self.emit(code.PAUSE)
        self.emit(code.WAIT, BACKOFF, frees)
        self.emit(code.JUMP, again)

    def place(self) -> None:
        """Put all instructions and tables into the store."""
        base = self.store.take(len(self.lines) * code.WORDS)
        for label in (self.client, self.steps, self.handler):
            label.at = base + label.at * code.WORDS
        done = {id(self.client), id(self.steps), id(self.handler)}

        def resolved(words: list[int | Label]) -> list[int]:
            out: list[int] = []
            for word in words:
                if isinstance(word, int):
                    out.append(int(word))
                else:
                    known = id(word) in done
                    out.append(word.at if known else base + word.at * code.WORDS)
            return out

        for i, line in enumerate(self.lines):
            self.store.put(base + i * code.WORDS, resolved(line))
        for address, table in self.tables:
            self.store.put(address, resolved(table))

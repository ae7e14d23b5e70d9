"""25 requests a second: one route lets callers wait for their turn, one sends them away."""

import asyncio
import time

from fastapi import FastAPI, HTTPException

app = FastAPI()


class Turns:
    """Every 40 ms one may go."""

    def __init__(self) -> None:
        self.next = 0.0

    async def take(self) -> None:
        now = time.monotonic()
        self.next = max(self.next + 0.04, now)
        await asyncio.sleep(self.next - now)


class Bucket:
    """10 at once, then 25 a second."""

    def __init__(self) -> None:
        self.tokens, self.at = 10.0, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self.tokens = min(10.0, self.tokens + (now - self.at) * 25)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


turns, bucket = Turns(), Bucket()


@app.get("/mail")
async def mail() -> str:
    await turns.take()
    return "sent"


@app.get("/search")
async def search() -> str:
    if not bucket.take():
        raise HTTPException(429, "slow down")
    await asyncio.sleep(0.01)
    return "found"

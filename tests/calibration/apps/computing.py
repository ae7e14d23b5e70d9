"""Two routes that compute: one on the loop, one in threads."""

import asyncio
import time

from fastapi import FastAPI

app = FastAPI()


def digits(seconds: float) -> int:
    ends, n = time.thread_time() + seconds, 0
    while time.thread_time() < ends:
        n += sum(i * i for i in range(200)) % 7
    return n


@app.get("/render")
async def render() -> int:
    return digits(0.03)


@app.get("/thumbnail")
def thumbnail() -> int:
    return digits(0.03)


@app.get("/page")
async def page() -> str:
    await asyncio.sleep(0.02)
    return "text"

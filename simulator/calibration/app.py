"""A small real server, one route per lesson: ``uvicorn simulator.calibration.app:app``.

Ask it: ``curl -i localhost:8000/sleep/async?ms=100``. ``sim calibrate --serve`` runs it, finds
out from outside what limits each route, and checks the scenario that says so.
No database is needed: a semaphore is the pool, a lock is the row.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from fastapi import FastAPI, Response, WebSocket
from fastapi.responses import StreamingResponse

app = FastAPI(title="One route per lesson")
pool = asyncio.Semaphore(5)  # a connection pool of 5
rows: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # SELECT … FOR UPDATE
bucket = {"tokens": 20.0, "at": 0.0}  # 20 at once, then 20 a second
waiting: asyncio.Queue[asyncio.Future[int]] = asyncio.Queue()  # for a place in a batch
batchers: list[asyncio.Task[None]] = []


def burn(ms: float) -> None:
    """Compute for so long, in this thread's own CPU time."""
    ends = time.thread_time() + ms / 1e3
    while time.thread_time() < ends:
        pass


@app.get("/nothing/async")
async def nothing_async() -> None:
    """What a request costs by itself."""


@app.get("/nothing/def")
def nothing_def() -> None:
    """The same in a thread: one hop more."""


@app.get("/sleep/async")
async def sleep_async(ms: float = 100) -> None:
    """Frees the loop: a hundred at once take as long as one."""
    await asyncio.sleep(ms / 1e3)


@app.get("/sleep/def")
def sleep_def(ms: float = 100) -> None:
    """Holds one of AnyIO's 40 threads: the 41st request waits."""
    time.sleep(ms / 1e3)


@app.get("/sleep/blocking")
async def sleep_blocking(ms: float = 100) -> None:
    """The bug: a blocking call in `async def` stops every other request."""
    time.sleep(ms / 1e3)


@app.get("/cpu/async")
async def cpu_async(ms: float = 20) -> None:
    """Computes on the loop: one after another, and nothing else meanwhile."""
    burn(ms)


@app.get("/cpu/def")
def cpu_def(ms: float = 20) -> None:
    """Computes in threads that share the GIL: at once, each as slow as their number."""
    burn(ms)


@app.get("/pool")
async def query(ms: float = 100) -> None:
    """A query on one of 5 connections: the 6th request waits for one."""
    async with pool:
        await asyncio.sleep(ms / 1e3)


@app.post("/row/{key}")
async def write_row(key: int, ms: float = 50) -> None:
    """Writes of one row wait for one another, writes of different rows do not."""
    async with rows[key]:
        await asyncio.sleep(ms / 1e3)


@app.get("/fan-out/{how}")
async def fan_out(how: str, ms: float = 50) -> None:
    """Four calls: `sequential` takes their sum, `gather` the longest."""
    calls = [asyncio.sleep(ms / 1e3) for _ in range(4)]
    for step in [asyncio.gather(*calls)] if how == "gather" else calls:
        await step


@app.get("/limited")
async def limited(response: Response) -> None:
    """20 at once, then 20 a second: more are refused."""
    now = time.monotonic()
    tokens = min(20.0, bucket["tokens"] + (now - bucket["at"]) * 20)
    response.status_code = 200 if tokens >= 1 else 429
    bucket.update(tokens=tokens - 1 if tokens >= 1 else tokens, at=now)


@app.get("/stream/{kind}")
async def stream(kind: str, chunks: int = 10, ms: float = 20) -> StreamingResponse:
    """Server-sent events: `async` from the loop, `def` with a thread for every chunk."""

    async def on_loop() -> AsyncIterator[str]:
        for i in range(chunks):
            await asyncio.sleep(ms / 1e3)
            yield f"data: {i}\n\n"

    def in_thread() -> Iterator[str]:
        for i in range(chunks):
            time.sleep(ms / 1e3)
            yield f"data: {i}\n\n"

    events = on_loop() if kind == "async" else in_thread()
    return StreamingResponse(events, media_type="text/event-stream")


@app.websocket("/socket")
async def socket(socket: WebSocket) -> None:
    """Echoes; an idle socket costs memory, no thread."""
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


@app.get("/predict")
async def predict() -> int:
    """Waits for up to 7 others, or 10 ms, for one forward pass; says how many they were."""
    if not batchers:
        batchers.append(asyncio.create_task(batch()))
    done = asyncio.get_running_loop().create_future()
    await waiting.put(done)
    return int(await done)


async def batch() -> None:
    """Take up to 8 items within 10 ms of the first; the device needs 4 ms and 1 ms an item."""
    while True:
        items = [await waiting.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(0.010):
                while len(items) < 8:
                    items.append(await waiting.get())
        await asyncio.to_thread(time.sleep, (4 + len(items)) / 1e3)
        for item in items:
            item.set_result(len(items))

"""AnyIO's thread limit turned down to 12, as services do whose database has few connections."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = 12
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/report")
def report() -> dict[str, str]:
    time.sleep(0.05)
    return {"report": "done"}


@app.get("/invoice")
def invoice() -> dict[str, str]:
    time.sleep(0.08)
    return {"invoice": "done"}


@app.get("/feed")
async def feed() -> list[str]:
    return ["nothing new"]

"""One route calls a blocking library in `async def`; the others pay for it."""

import asyncio
import time

from fastapi import FastAPI

app = FastAPI()


@app.get("/charge")
async def charge() -> str:
    time.sleep(0.06)  # requests.post(…)
    return "paid"


@app.get("/cart")
async def cart() -> list[str]:
    await asyncio.sleep(0.03)
    return ["tea"]


@app.get("/health")
async def health() -> str:
    return "ok"

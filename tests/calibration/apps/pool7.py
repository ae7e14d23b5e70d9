"""A pool of 7 that two routes share, and another of 7 that a third one has."""

import asyncio
import random

from fastapi import FastAPI

app = FastAPI()
pool = asyncio.Semaphore(7)
reports = asyncio.Semaphore(7)
chance = random.Random(7)


@app.get("/users")
async def users() -> list[str]:
    async with pool:
        await asyncio.sleep(0.04)
    return ["ann", "ben"]


@app.get("/orders")
async def orders() -> list[int]:
    async with pool:
        await asyncio.sleep(0.06)
    return [1, 2, 3]


@app.get("/reports")
async def report() -> str:
    async with reports:
        await asyncio.sleep(chance.expovariate(1 / 0.05))
    return "long"

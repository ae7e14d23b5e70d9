"""A FastAPI app written by hand: a light route beside one that computes in a thread.

``SWITCH_INTERVAL`` (seconds) in the environment sets the interpreter's.
"""

import os
import sys
import time

from fastapi import FastAPI

sys.setswitchinterval(float(os.environ.get("SWITCH_INTERVAL", "0.005")))
app = FastAPI()


@app.get("/light")
async def light() -> dict[str, str]:
    return {}


@app.get("/burn")
def burn(ms: float) -> dict[str, str]:
    end = time.thread_time() + ms / 1e3
    while time.thread_time() < end:
        for _ in range(50):
            pass
    return {}

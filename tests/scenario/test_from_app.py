"""`sim init --from-app` reads routes and hops off a real FastAPI app, and what it writes runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from simulator.scenario import loads
from simulator.scenario.from_app import AppError, from_app
from tests.conftest import Sim

pytest.importorskip("fastapi", reason="FastAPI is not installed")

APP = """\
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, WebSocket

app = FastAPI(title="Shop: <v2>")
router = APIRouter(prefix="/users")


def settings():
    return {}


def get_db(s: Annotated[dict, Depends(settings)]):
    yield s


async def current_user(s: Annotated[dict, Depends(settings)]):
    return s


class Pager:
    def __call__(self, page: int = 0):
        return page


@app.get("/products")
async def list_products(db: Annotated[dict, Depends(get_db)]):
    return []


@app.post("/orders")
def order(db: Annotated[dict, Depends(get_db)], user: Annotated[dict, Depends(current_user)]):
    return {}


@router.get("/{id}")
async def get(id: int, page: Annotated[int, Depends(Pager())]):
    return {}


@router.delete("/{id}")
async def get(id: int):
    return {}


@app.websocket("/ws")
async def ws(socket: WebSocket):
    await socket.accept()


app.include_router(router)
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "shop_app", raising=False)
    return tmp_path


def test_routes_handlers_and_hops(shop: Path) -> None:
    text = from_app("shop_app:app")
    scenario = loads(text)
    routes = scenario.document["routes"]
    assert {name: (route["path"], route["handler"]) for name, route in routes.items()} == {
        "list_products": ("GET /products", "async def"),
        "order": ("POST /orders", "def"),
        "ws": ("GET /ws", "async def"),
        "get": ("GET /users/{id}", "async def"),
        "get_2": ("DELETE /users/{id}", "async def"),
    }
    listing = [next(iter(step)) for step in routes["list_products"]["steps"]]
    assert listing == ["to_thread", "to_thread", "await", "cpu"]  # settings, get_db
    assert [next(iter(step)) for step in routes["get"]["steps"]] == ["to_thread", "await", "cpu"]
    assert [next(iter(step)) for step in routes["get_2"]["steps"]] == ["await", "cpu"]
    assert "# dependency current_user, on the loop" in text
    assert "# dependency get_db: sync, one hop more" in text
    assert scenario.name == "Shop---v2"


def test_what_it_writes_runs(sim: Sim, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    path = shop / "mine.yaml"
    written = sim_in(sim, shop, monkeypatch, "init", "--from-app", "shop_app:app", "-o", str(path))
    assert written.code == 0, written.err
    assert sim("run", str(path)).code == 0


def sim_in(sim: Sim, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(folder)
    return sim(*arguments)


def test_the_small_app_of_the_project() -> None:
    assert len(loads(from_app("simulator.calibration.app:app")).plan.routes) > 5


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop_app", "is not MODULE:APP, expected such as main:app"),
        ("nowhere:app", "no module called 'nowhere' from here"),
        ("shop_app:nothing", "shop_app has no 'nothing'"),
        ("shop_app:APIRouter", "expected a FastAPI app"),
        ("broken:app", "importing broken failed: ZeroDivisionError: division by zero"),
        ("needy:app", "needy needs 'a_library_that_is_not_there', which is not installed here"),
        ("empty:app", "has no routes of its own"),
        ("leaving:app", r"importing leaving ends the program \(exit 3\)"),
    ],
)
def test_an_app_that_cant_be_read(shop: Path, target: str, message: str) -> None:
    (shop / "broken.py").write_text("1 / 0")
    (shop / "needy.py").write_text("import a_library_that_is_not_there")
    (shop / "leaving.py").write_text("import sys\nsys.exit(3)")
    (shop / "empty.py").write_text("from fastapi import FastAPI\napp = FastAPI()")
    with pytest.raises(AppError, match=message):
        from_app(target)


MOUNTED = """\
import os
from fastapi import FastAPI

print("loud while it is imported")
app, admin, deep = FastAPI(), FastAPI(), FastAPI()


@app.get("/naïve")
def naïve() -> dict[str, int]:
    return {}


@admin.get("/users")
async def users():
    return []


@deep.get("/er")
async def deeper():
    return []


admin.mount("/deep", deep)
app.mount("/admin", admin)
"""


def test_mounted_apps_and_what_is_printed_on_import(
    sim: Sim, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "mounted_app.py").write_text(MOUNTED)
    monkeypatch.delitem(sys.modules, "mounted_app", raising=False)
    shown = sim_in(sim, shop, monkeypatch, "init", "--from-app", "mounted_app:app")
    assert shown.code == 0 and "loud" not in shown.out and "loud" in shown.err
    routes = loads(shown.out).document["routes"]
    assert {name: route["path"] for name, route in routes.items()} == {
        "naive": "GET /naïve",
        "users": "GET /admin/users",
        "deeper": "GET /admin/deep/er",
    }
    # Its response has a model, which a thread of its own validates.
    assert [next(iter(step)) for step in routes["naive"]["steps"]] == ["block", "cpu", "cpu"]

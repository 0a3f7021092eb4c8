"""The dashboard in a FastAPI application, behind its login: ``uvicorn with_fastapi:api``."""

from typing import Annotated

from fastapi import Body, FastAPI, Request
from fastapi.responses import RedirectResponse
from starlette.middleware.sessions import SessionMiddleware

from stratix_kombu import create_app
from stratix_kombu.dashboard import Dashboard, Response
from stratix_kombu.integrations.fastapi import lifespan

jobs = create_app()  # stratix.toml, or the environment
PASSWORDS = {"ada": "lovelace"}  # in production: those of your application


def user_of(request):
    """The session's user; whoever has not logged in is sent there."""
    user = request.native["session"].get("user")
    return user or Response(303, headers=[("Location", "/login")])


board = Dashboard(jobs, authorize=user_of, may=lambda user, action, queue: action == "view" or user == "ada")
api = FastAPI(lifespan=lifespan(jobs))
api.mount("/jobs", board.asgi)
api.add_middleware(SessionMiddleware, secret_key="for an example", same_site="lax")


@api.post("/login")
async def login(request: Request, name: Annotated[str, Body()], password: Annotated[str, Body()]):
    if PASSWORDS.get(name) == password:
        request.session["user"] = name
    return RedirectResponse("/jobs/", 303)

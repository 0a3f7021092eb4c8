"""A web application that adds jobs, waits for them, and shows what happens: ``uvicorn shop:api``."""

from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from stratix_kombu import ConfigurationError, JobFailed, Queue, WaitTimeout, create_app
from stratix_kombu.integrations.fastapi import EventStream, lifespan, queue_of

jobs = create_app({"driver": "memory"})  # in production: create_app("stratix.toml"), and workers of their own
emails = jobs.queue.create_queue("emails", concurrency=10)


@emails.process("welcome")
async def welcome(job):
    await job.aio.update_progress("writing")
    if "@" not in job.data["to"]:
        raise ValueError(f"{job.data['to']} is no address")
    return f"sent to {job.data['to']}"


@asynccontextmanager
async def life(api):
    async with lifespan(jobs, start=True)(api):  # beside whatever else the application opens
        yield


api = FastAPI(lifespan=life)
Emails = Annotated[Queue, Depends(queue_of(jobs, "emails"))]


@api.post("/users/{address}", status_code=202)
async def register(address: str, queue: Emails):
    job = await queue.aio.add("welcome", {"to": address})
    return {"job": job.id}


@api.get("/jobs/{job_id}")
async def result(job_id: str, queue: Emails, patience: float = 5):
    try:
        job = await queue.aio.get_job(job_id)
    except ConfigurationError as problem:  # no job can have such an id
        raise HTTPException(404) from problem
    if job is None:
        raise HTTPException(404)
    try:
        return {"result": await job.aio.wait_until_finished(timeout=patience)}
    except JobFailed as failed:
        return {"failed": failed.reason}
    except WaitTimeout:
        return {"state": await job.aio.get_state()}


@api.get("/events")
async def events(request: Request, queue: Emails):
    return EventStream(queue, request, only=lambda event: event.name in ("progress", "completed", "failed"))

"""A handler in a file of its own: whatever the queue says, it runs in a sandbox."""


async def process(job):
    await job.aio.update_progress(100)
    width, height = job.data
    return [width // 10, height // 10]

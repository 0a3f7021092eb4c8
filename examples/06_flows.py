"""A whole tree of jobs in one step: all are added, or none. A parent runs when its children have completed, in whatever
queues they are, and reads their results; `get_flow` reads the graph back from any of its jobs.
"""

from stratix_kombu import create_app

app = create_app()
video = app.queue.create_queue("video", concurrency=4)
mail = app.queue.create_queue("mail")


@video.process("encode")
def encode(job):
    return f"{job.data['size']}p"


@video.process("publish")
def publish(job):
    return sorted(job.get_dependency_results().values())


@mail.process("tell")
def tell(job):
    (sizes,) = job.get_dependency_results().values()
    return f"told {job.data['to']} about {', '.join(sizes)}"


if __name__ == "__main__":
    with app:
        app.start()
        flow = app.queue.add_flow(
            {
                "name": "tell",
                "queue": "mail",
                "data": {"to": "ada@example.com"},
                "children": [
                    {
                        "name": "publish",
                        "queue": "video",
                        "children": [
                            {"name": "encode", "queue": "video", "data": {"size": size}, "opts": {"attempts": 3}}
                            for size in (480, 720)
                        ],
                    }
                ],
            }
        )
        print(flow.root.wait_until_finished(timeout=30))
        read = app.queue.get_flow(flow.root)
        print({job.name: job.state for job in read or []})

"""An application factory: ``flask --app shop stratix worker`` runs its jobs."""

import os

import mail
from flask import Flask, jsonify

from stratix_kombu.integrations.flask import Stratix

jobs = Stratix(mail.handlers)


def create_app():
    app = Flask(__name__)
    app.config.update(
        GREETING="welcome",
        STRATIX={
            "redis": {"url": os.environ.get("SHOP_REDIS", "redis://localhost:6379/0")},
            "namespace": os.environ.get("SHOP_NAMESPACE", "shop"),
        },
    )
    jobs.init_app(app)

    @app.post("/users/<name>")
    def register(name):
        return jsonify(job=jobs.queue.get_queue("mail").add("welcome", name).id), 202

    return app

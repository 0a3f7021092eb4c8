"""The dashboard in a Flask application, behind its login: ``flask --app with_flask run``."""

from flask import Flask, redirect, request, session

from stratix_kombu import create_app
from stratix_kombu.dashboard import Dashboard, Response
from stratix_kombu.integrations.flask import mount

jobs = create_app()  # stratix.toml, or the environment
PASSWORDS = {"ada": "lovelace"}  # in production: those of your application

app = Flask(__name__)
app.secret_key = "for an example"


def user_of(_):
    """The session's user; whoever has not logged in is sent there."""
    return session.get("user") or Response(303, headers=[("Location", "/login")])


mount(app, Dashboard(jobs, authorize=user_of), "/jobs")


@app.post("/login")
def login():
    if PASSWORDS.get(request.form["name"]) == request.form["password"]:
        session["user"] = request.form["name"]
    return redirect("/jobs/", 303)

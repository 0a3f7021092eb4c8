"""Handlers, declared before there is an application."""

from flask import current_app

from stratix_kombu import Handlers

handlers = Handlers()


@handlers.process("mail", "welcome")
def welcome(job):
    return f"{current_app.config['GREETING']}, {job.data}"

"""Tasks: https://docs.celeryq.dev/en/stable/userguide/tasks.html"""

from __future__ import annotations

from typing import Any

from celery import states

from tests.celery.beside import Side, value
from tests.celery.conftest import lines
from tests.celery.documented.conftest import Trial
from tests.celery.documented.statements import Page, Statement, kind
from tests.celery.documented.tasks import Given
from tests.waiting import WAIT_S, until

PAGE = Page()
CONF = {"result_extended": True}


def path(side: Side, name: str) -> str:
    """A file of this side, which is there."""
    file = side.folder / name
    file.touch()
    return str(file)


def noted(side: Side, name: str, number: int) -> list[str]:
    """The lines of a file, once there are so many."""
    until(lambda: len(lines(path(side, name))) >= number, WAIT_S)
    return lines(path(side, name))


# -- Requests -------------------------------------------------------------------------------------

REQUEST = {
    "args": [1],
    "kwargs": {"a": 2},
    "retries": 0,
    "is_eager": False,
    "called_directly": False,
    "eta": None,
    "timelimit": [None, None],
    "time_limit": None,
    "soft_time_limit": None,
    "utc": None,
    "group": None,
    "chord": None,
    "parent_id": None,
    "replaced_task_nesting": 0,
    "ignore_result": False,
    "expires": False,
    "own ids": [True, True, True],
    "hostname": True,
    "origin": True,
    "callbacks": 0,
    "errbacks": 0,
    "chain": 0,
    "delivery_info": ["exchange", "priority", "redelivered", "routing_key"],
    "properties": ["correlation_id", "delivery_mode", "priority"],
}


def context(side: Side, **options: Any) -> dict[str, Any]:
    seen = value(side.task("dump_context").apply_async((1,), {"a": 2}, **options))
    return {**seen, "hostname": seen["hostname"] == side.worker}


@PAGE.says("The request defines the following attributes", REQUEST, on="redis")
def request_attributes(side: Side) -> Any:
    return context(side)


@PAGE.says(
    "time_limit: The hard time limit (in seconds) active for this task … or the argument passed to apply_async",
    [[20, 10], 20, 10, True],
)
def request_limits(side: Side) -> Any:
    seen = context(side, time_limit=20, soft_time_limit=10, expires=60)
    return [seen["timelimit"], seen["time_limit"], seen["soft_time_limit"], seen["expires"]]


@PAGE.says("callbacks: A list of signatures to be called if this task returns successfully", [1, 2])
def request_callbacks(side: Side) -> Any:
    same = side.task("same")
    seen = context(side, link=same.s(), link_error=[same.si(), same.si()])
    return [seen["callbacks"], seen["errbacks"]]


@PAGE.says("chain: Reversed list of tasks that form a chain", 2)
def request_chain(side: Side) -> Any:
    same = side.task("same")
    return value((side.task("dump_context").s() | same.s() | same.s()).apply_async())["chain"]


# -- Logging and arguments ------------------------------------------------------------------------


@PAGE.says("to automatically get the task name and unique id as part of the logs", [True, True])
def logs(side: Side) -> Any:
    result = side.task("logs").delay("this")
    value(result)
    name = f"proj.logs[{result.id}]: "
    until(lambda: f"{name}logged this" in side.log() and "printed this" in side.log(), WAIT_S)
    return [f"{name}logged this" in side.log(), f"{name}printed this" in side.log() or "printed this" in side.log()]


@PAGE.says("Calling the task with only one argument fails", "TypeError")
def arguments_are_checked(side: Side) -> Any:
    try:
        side.task("two").delay(8)
    except TypeError as error:
        return type(error).__name__


@PAGE.says("Works locally, but the worker receiving the task will raise an error", "TypeError")
def arguments_are_not_checked(side: Side) -> Any:
    return kind(side.task("untyped").delay(8))


@PAGE.says("override how positional arguments and keyword arguments are represented in logs", [[1, 2], False])
def hidden_arguments(side: Side) -> Any:
    seen = value(side.task("two").apply_async((1, 2), argsrepr="(<secret-x>)", kwargsrepr="{'card': '****'}"))
    return [seen, "(1, 2)" in side.log()]


@PAGE.says("The task can then be called using a model or a dict matching the model", [{"value": "example: 1"}] * 3)
def pydantic_models(side: Side) -> Any:
    model = side.task("model")
    results = [model.delay(Given(value=1)), model.delay({"value": 1}), model.delay({"value": 1}, other={"value": 2})]
    return [value(one) for one in results]


# -- Retries --------------------------------------------------------------------------------------


@PAGE.says("it'll send a new message, using the same task-id … to the same queue as the originating task", [1, True])
def retries_keep_the_id(side: Side) -> Any:
    flaky, own = side.task("flaky"), side.new_id()
    result = flaky.apply_async(("same", 1, 0.01), task_id=own)
    return [value(result)[1], result.id == own]


@PAGE.says("the current exception will be re-raised if the max number of retries has been exceeded", ["KeyError", 3])
def retries_are_exhausted(side: Side) -> Any:
    result = side.task("retry_with").delay(path(side, "current"), "current exception")
    return [kind(result), len(noted(side, "current", 3))]


@PAGE.says("An exc argument wasn't given. In this case the MaxRetriesExceededError exception will be raised", True)
def retries_without_exc(side: Side) -> Any:
    return kind(side.task("retry_with").delay(path(side, "none"), "")) == "MaxRetriesExceededError"


@PAGE.says("If there's no original exception to re-raise the exc argument will be used instead", "LookupError")
def retries_with_exc(side: Side) -> Any:
    return kind(side.task("retry_with").delay(path(side, "exc"), "exc"))


@PAGE.says("always happens unless the throw argument to retry is set to False", True)
def retries_that_do_not_throw(side: Side) -> Any:
    """The result differs, as the guide says."""
    path_of_runs = path(side, "does not throw")
    side.task("does_not_throw").delay(path_of_runs)
    return noted(side, "does not throw", 2) == ["went on", "again"]


@PAGE.says("automatically retry a task using autoretry_for argument", 2)
def known_exceptions(side: Side) -> Any:
    return value(side.task("known").delay("key"))


@PAGE.says("These exceptions won't be autoretried", "IndexError")
def exceptions_that_are_not_retried(side: Side) -> Any:
    return kind(side.task("known").delay("index"))


@PAGE.says("pass retry_kwargs argument to task decorator", ["ValueError", 2])
def retry_arguments(side: Side) -> Any:
    answer = kind(side.task("custom_retries").delay(path(side, "custom")))
    return [answer, len(lines(path(side, "custom")))]


@PAGE.says("it is used as a delay factor", ["RETRY", "ValueError"])
def backoff(side: Side) -> Any:
    result = side.task("backs_off").delay()
    until(lambda: result.state == "RETRY", WAIT_S)
    answer = [result.state, type(result.result).__name__]
    result.revoke()
    return answer


@PAGE.says("retry(args=…, kwargs=…)", 15)
def retries_with_other_arguments(side: Side) -> Any:
    return value(side.task("changes").delay(1))


# -- States and semipredicates --------------------------------------------------------------------


@PAGE.says("Any task id that's not known is implied to be in the pending state", ["PENDING", None, False])
def unknown_ids(side: Side) -> Any:
    result = side.app.AsyncResult(side.new_id())
    return [result.state, result.result, result.ready()]


@PAGE.says("pid and hostname of the worker process executing the task", [True, True])
def started(side: Side) -> Any:
    gate = side.folder / "tracked"
    result = side.task("tracked").delay(str(gate))
    until(lambda: result.state == "STARTED", WAIT_S)
    answer = [result.info["hostname"] == side.worker, result.info["pid"] > 0]
    gate.touch()
    value(result)
    return answer


@PAGE.says("result contains the exception occurred, and traceback contains the backtrace", [True, "ValueError", True])
def failed(side: Side) -> Any:
    result = side.task("boom").delay()
    until(result.ready, WAIT_S)
    return [result.failed(), type(result.result).__name__, "raise ValueError" in result.traceback]


@PAGE.says("Errors in this list will be reported as a failure … Logged with severity INFO", ["KeyError", True, False])
def expected_errors(side: Side) -> Any:
    result = side.task("expected").delay("told")
    answer = kind(result)
    until(lambda: f"proj.expected[{result.id}] raised expected" in side.log(), WAIT_S)
    told = [line for line in side.log().splitlines() if f"proj.expected[{result.id}] raised" in line]
    return [answer, all("INFO" in line for line in told), any("ERROR" in line for line in told)]


@PAGE.says("Use update_state to update a task's state", ["PROGRESS", {"step": 1}, "done"])
def custom_states(side: Side) -> Any:
    gate = side.folder / "steps"
    result = side.task("steps").delay(str(gate))
    until(lambda: result.state == "PROGRESS", WAIT_S)
    answer = [result.state, result.info]
    gate.touch()
    return [*answer, value(result)]


@PAGE.says("When a task moves into a new state the previous state is forgotten about", ["RETRY", "NEXT", "done"])
def states_of_later_attempts(side: Side) -> Any:
    """What an attempt has told is past when the task is retried."""
    gate = path(side, "told")
    result = side.task("tells_and_retries").delay(gate)
    noted(side, "told", 1)
    seen = [result.state]
    path(side, "told0")
    noted(side, "told", 2)
    seen.append(result.state)
    path(side, "told1")
    return [*seen, value(result)]


@PAGE.says("you could have a look at the abortable tasks", ["aborted", "ABORTED"])
def abortable(side: Side) -> Any:
    result = side.task("long").delay(path(side, "abortable"))
    noted(side, "abortable", 1)
    result.abort()
    seen = side.app.AsyncResult(result.id).state
    path(side, "abortable seen")  # it returns now, and that is its state
    return [value(result), seen]


@PAGE.says("manually store the result of a task", ["SUCCESS", {"own": 1}])
def stored_by_hand(side: Side) -> Any:
    result = side.task("stores_itself").delay({"own": 1})
    until(result.ready, WAIT_S)
    return [result.state, result.result]


@PAGE.says("never run again, so its result is stored in the FAILURE state", [["FAILURE", True, "no reason"]] * 2)
def rejected(side: Side) -> Any:
    told = []
    for name in ("rejects", "rejects_late"):
        result = side.task(name).delay()
        until(result.ready, WAIT_S)
        told.append([result.state, result.failed(), str(result.result).strip("('),")[:9]])
    return told


@PAGE.says("the message is then redelivered and executed again", True, on="redis|rabbitmq")
def requeued(side: Side) -> Any:
    return value(side.task("received_twice").delay())


# -- Classes and handlers -------------------------------------------------------------------------


@PAGE.says("if you route every request to the same process, then it will keep state between requests", True, "threads")
def instantiated_once(side: Side) -> Any:
    users = side.app.signature("proj.users")
    counts = [value(users.apply_async()) for _ in range(3)]
    return counts == list(range(counts[0], counts[0] + 3))


SUCCEEDED = ["before_start PENDING", "run", "on_success SUCCESS done", "after_return SUCCESS SUCCESS"]
FAILED = ["before_start PENDING", "run", "on_failure FAILURE ValueError ExceptionInfo", "after_return FAILURE FAILURE"]
RETRIED = ["before_start PENDING", "run", "on_retry RETRY NoneType"]
AGAIN = ["before_start RETRY", *SUCCEEDED[1:]]


@PAGE.says("the exact order of execution", [SUCCEEDED, FAILED, [*RETRIED, *AGAIN], SUCCEEDED[:2]])
def handlers(side: Side) -> Any:
    told = []
    for how, number in (("", 4), ("fails", 4), ("retries", 7), ("ignores", 2)):
        name = f"handlers {how}"
        side.task("handled").delay(path(side, name), how)
        told.append(noted(side, name, number))
    return told


@PAGE.says("If this handler raises, the worker logs the exception … and the task stays SUCCESS", ["fine", "SUCCESS"])
def handlers_that_raise(side: Side) -> Any:
    result = side.task("handlers_raise").delay()
    answer = value(result)
    until(lambda: "on_success raised" in side.log(), WAIT_S)
    return [answer, side.app.AsyncResult(result.id).state]


@PAGE.says("use a custom request … detects and logs … other failures", True, on="prefork")
def custom_requests(side: Side) -> Any:
    side.task("watched").delay()
    until(lambda: "Failure detected for task proj.watched" in side.log(), WAIT_S)
    return "Failure detected for task proj.watched" in side.log()


@PAGE.says("No result will be stored", [None, "PENDING"])
def ignored_results(side: Side) -> Any:
    result = side.task("add").apply_async((1, 2), ignore_result=True)
    return [value(result), side.app.AsyncResult(result.id).state]


@PAGE.says("store additional metadata about the task in the result backend", [[1, 2], {}, "proj.two", True])
def extended(side: Side) -> Any:
    result = side.task("two").delay(1, 2)
    value(result)
    found = side.app.AsyncResult(result.id)
    return [list(found.args), found.kwargs, found.name, found.worker == side.worker]


@PAGE.says("There are also sets of states", [True, True])
def sets_of_states(side: Side) -> Any:
    done, fails = side.task("add").delay(1, 1), side.task("boom").delay()
    until(lambda: done.ready() and fails.ready(), WAIT_S)
    return [done.state in states.READY_STATES, fails.state in states.PROPAGATE_STATES]


@PAGE.tried_on("redis-prefork", "rabbitmq-threads")
def test_page(trial: Trial, host: str, statement: Statement) -> None:
    trial(host, statement)

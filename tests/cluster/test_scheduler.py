"""What the driver makes of a scheduler that says nothing, and of a task that ends in an unforeseen way."""

from __future__ import annotations

import json
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.runner import job
from batch_implement.runner.dask import connection, executor
from run_states import run_state

distributed = pytest.importorskip("distributed")


@pytest.fixture
def silent():
    """The address of somebody who takes connections and says nothing, as a frozen scheduler does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_one_that_takes_the_connection_and_says_nothing_is_given_up(silent, monkeypatch):
    monkeypatch.setattr(connection, "POLL_S", 0.1)
    raised = []

    def connect():
        try:
            connection.connect(silent, 1)
        except TimeoutError as error:
            raised.append(str(error))

    trying = threading.Thread(target=connect, daemon=True)
    trying.start()
    trying.join(20)
    assert raised == ["it takes connections, and has said nothing for 1 s"]


def test_one_that_answers_too_late_is_let_go_of(monkeypatch):
    late, closed = threading.Event(), threading.Event()

    def connects(address, **_):
        late.wait(60)
        return SimpleNamespace(close=lambda timeout: closed.set())

    monkeypatch.setattr(connection, "import_distributed", lambda: SimpleNamespace(Client=connects))
    monkeypatch.setattr(connection, "POLL_S", 0.1)
    with pytest.raises(TimeoutError):
        connection.connect("tcp://127.0.0.1:1", 0.1)
    late.set()
    assert closed.wait(20)


class Client:
    """A client whose scheduler answers when `alive`; `submit` gives `asked`."""

    def __init__(self, asked=None, *, alive=True, status="running"):
        self.asked, self.alive, self.status, self.questions = asked, alive, status, 0
        self.scheduler = SimpleNamespace(identity=None)

    def sync(self, *_, **__):
        self.questions += 1
        if not self.alive:
            raise distributed.TimeoutError

    def submit(self, *_, **__):
        if self.asked is None:
            raise Exception("Tried sending message after closing")  # as Dask does
        return self.asked

    def subscribe_topic(self, *_):
        pass


class Asked:
    """A task: `told` is what it brings back, or what is raised for it; None: it is still at work."""

    def __init__(self, told=None, status="pending"):
        self.told, self.status = told, status

    def done(self):
        return self.status != "pending"

    def result(self, timeout=None):
        if isinstance(self.told, Exception):
            raise self.told
        if self.told is None:
            raise distributed.TimeoutError
        return self.told

    def cancel(self):
        pass


def test_a_scheduler_is_asked_now_and_then_and_one_that_does_not_answer_is_given_the_patience(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: now[0]))
    hearing, client = connection.SchedulerMonitor(60), Client()
    for _ in range(100):
        now[0] += 1
        assert hearing.is_responsive(client)
    assert 10 <= client.questions <= 20
    client.alive = False
    for after in (1, 50, 54):
        now[0] = 1100.0 + after
        assert hearing.is_responsive(client), after
    now[0] += 10
    assert not hearing.is_responsive(client)
    client.alive = True
    assert hearing.is_responsive(client)


def came_of(client, call):
    """What a call through that client has brought, or raised."""
    came = []

    def ask():
        try:
            came.append(connection.call_scheduler(client, call))
        except Exception as error:
            came.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(20)
    assert came, "it waits for ever"
    return came[0]


def test_a_question_before_the_night_ends_when_the_scheduler_falls_silent_and_takes_the_time_it_needs(monkeypatch):
    monkeypatch.setattr(connection, "POLL_S", 0.05)
    monkeypatch.setattr(connection, "ANSWER_S", 0.5)
    error = came_of(Client(alive=False), threading.Event().wait)
    assert isinstance(error, TimeoutError) and "has not answered for 0.5 s" in str(error)
    assert came_of(Client(), lambda: time.sleep(1.5) or "told") == "told"

    def raises():
        time.sleep(0.2)
        raise TimeoutError("of its own")

    assert str(came_of(Client(), raises)) == "of its own"


@pytest.fixture
def ended(repository, monkeypatch):
    """`ended(client)`: the outcome of an attempt by that client."""
    monkeypatch.setattr(executor, "POLL_S", 0)
    state = run_state(1)
    state["run"]["options"] = {"remote": "/srv/a.git"}
    asked = job.create_job(Project(str(repository)), state, 0)

    def end(client, patience_s=60.0):
        dask_executor = executor.DaskExecutor.__new__(executor.DaskExecutor)
        dask_executor.client, dask_executor.batch_id, dask_executor.address, dask_executor.tasks = (
            client,
            "b",
            "tcp://here:1",
            {},
        )
        dask_executor.stopping, dask_executor.lock, dask_executor.patience_s = (
            threading.Event(),
            threading.Lock(),
            patience_s,
        )
        dask_executor.monitor = connection.SchedulerMonitor(patience_s)
        outcomes = []
        trying = threading.Thread(target=lambda: outcomes.append(dask_executor._run_task(asked)), daemon=True)
        trying.start()
        trying.join(20)
        assert outcomes and dask_executor.tasks == {}
        return outcomes[0]

    return end


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(28, "odd"), RuntimeError("odd"), TimeoutError("odd"),
                                   distributed.TimeoutError("odd")])  # fmt: skip
def test_whatever_a_task_raises_is_a_crash_that_says_which_and_the_run_goes_on(ended, error):
    outcome = ended(Client(Asked(error, "error")))
    assert (outcome.kind, outcome.failure_class) == (job.INTERRUPTED, "worker_died")  # three in a row are counted
    assert type(error).__name__ in outcome.message and "odd" in outcome.message


@pytest.mark.parametrize("told", [b"", b"[]", b'{"unknown": 1}', b"\xff"])
def test_an_answer_that_is_none_is_a_crash_that_says_which(ended, told):
    outcome = ended(Client(Asked(told, "finished")))
    assert (outcome.kind, outcome.failure_class) == (job.INTERRUPTED, "worker_died")
    assert "its task ended with" in outcome.message


def test_what_the_connection_raises_is_nobodys_fault(ended):
    for client in (
        Client(Asked(OSError("Timed out"))),
        Client(Asked(RuntimeError("IOLoop is closed"))),
        Client(Asked(distributed.client.FutureCancelledError("key", "scheduler-restart"), "cancelled")),
    ):
        assert ended(client).failure_class == job.LOST


def test_a_client_that_was_closed_while_its_tasks_were_taken_away_does_not_end_the_run(ended):
    class Closed(Client):
        def subscribe_topic(self, *_):
            raise Exception("Client is closed. Can't send subscribe-topic message.")  # as Dask does

    error = distributed.client.FutureCancelledError("key", "scheduler-connection-lost")
    assert ended(Closed(Asked(error, "cancelled"))).failure_class == job.LOST


class Closing(Client):
    """One that is closed between the look at its status and what is asked of it."""

    def submit(self, *_, **__):
        self.status = "closed"
        return super().submit()


def test_a_connection_that_ends_at_that_moment_is_nobodys_fault(ended):
    assert ended(Closing()).failure_class == job.LOST
    assert ended(Closing(Asked())).failure_class == job.LOST


def test_one_that_is_frozen_is_given_up_after_the_patience_with_what_to_do(ended):
    outcome = ended(Client(Asked(), alive=False), patience_s=0.5)
    assert outcome.kind == job.NEEDS_USER
    assert "tcp://here:1 has not answered for" in outcome.message and "--resume" in outcome.message


def test_a_task_that_takes_longer_than_the_patience_is_waited_for(ended):
    outcome = job.interrupted_outcome(SimpleNamespace(session_id="s"), "x")
    asked = Asked()

    def finish():
        time.sleep(1.5)
        asked.told, asked.status = json.dumps(outcome._asdict()).encode(), "finished"

    threading.Thread(target=finish).start()
    assert ended(Client(asked), patience_s=0.5) == outcome


def test_after_the_driver_itself_was_frozen_none_of_its_threads_gives_up_before_one_has_asked():
    hearing, answered = connection.SchedulerMonitor(60), threading.Event()

    class Slow(Client):
        def sync(self, *_, **__):
            asked.set()
            answered.wait(60)

    hearing.last_answer_s -= 1000
    asked = threading.Event()
    first = threading.Thread(target=hearing.is_responsive, args=(Slow(),))
    first.start()
    asked.wait(60)
    assert hearing.is_responsive(Client(alive=False))
    answered.set()
    first.join(60)
    assert hearing.is_responsive(Client(alive=False))

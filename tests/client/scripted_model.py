"""A Messages API on loopback whose answers are an ordinary Python script of turns.

The real Claude Code talks to it as it would talk to the model, so a test decides every word the model says and
everything else (tools, hooks, forks, compaction, resume) is the real thing.

    def coordinator(request):
        request = yield call("Bash", command="echo hi")      # the answer to the first request
        assert "hi" in request.last_text()                    # what came back
        yield say("done")

    with ScriptedModel({"coordinator": coordinator}) as model:
        ...run the client with ANTHROPIC_BASE_URL=model.url...

A *conversation* is the main thread of one session, or one agent run of it; it keeps its script through compactions
and `--resume`. A *role* names the script: `coordinator` is the main thread, `worker` and `reviewer` are the plugin's
agents, `other` is any other agent. Each new conversation of a role starts that role's generator function afresh.

Guarantees: every request is kept, with its role, in the order of arrival; side questions (no tools: titles, checks) and
summaries are answered without moving a script. Fails: an exception in a script ends that conversation with a plain
text and comes out of `close()` or the end of the `with`, so that a test fails with the real reason. Standard library
only; needs no pytest.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Callable

REPOSITORY = Path(__file__).resolve().parents[2]

SUMMARY_REQUEST = "CRITICAL: Respond with TEXT ONLY"
"""How the client's request for a compaction summary starts (2.1.330)."""

WINDOW_FULL = 990_000
"""An `input_tokens` that makes the client compact before its next request."""


@dataclass(frozen=True)
class Failure:
    """An HTTP error in place of an answer; `retry_after` is in seconds, None sends no such header."""

    status: int
    type: str
    message: str
    retry_after: int | None = None
    once: bool = False
    """True: only the first try fails. False: every retry of the same request fails too."""


@dataclass(frozen=True)
class Turn:
    """One answer of the model: text, tool calls, or both; or an error. `delay` is in seconds, before the first byte."""

    text: str = ""
    tools: tuple[tuple[str, dict[str, Any]], ...] = ()
    input_tokens: int = 1_000
    output_tokens: int = 10
    delay: float = 0.0
    error: Failure | None = None

    def with_text(self, text: str) -> Turn:
        """The same turn with this text before its tool calls."""
        return Turn(text, self.tools, self.input_tokens, self.output_tokens, self.delay, self.error)

    def with_usage(self, input_tokens: int, output_tokens: int = 10) -> Turn:
        """The same turn, reporting these token counts; WINDOW_FULL forces a compaction."""
        return Turn(self.text, self.tools, input_tokens, output_tokens, self.delay, self.error)

    def after(self, seconds: float) -> Turn:
        """The same turn, sent after a wait of so many seconds."""
        return Turn(self.text, self.tools, self.input_tokens, self.output_tokens, seconds, self.error)


def say(text: str) -> Turn:
    """A text that ends the turn."""
    return Turn(text=text)


def call(tool: str, /, **tool_input: Any) -> Turn:
    """One tool call: `call("Bash", command="ls")`."""
    return Turn(tools=((tool, tool_input),))


def calls(*tools: tuple[str, dict[str, Any]]) -> Turn:
    """Several tool calls in one turn: `calls(("Bash", {...}), ("Read", {...}))`."""
    return Turn(tools=tuple(tools))


def fail(status: int, error_type: str, message: str, *, retry_after: int | None = None) -> Turn:
    """An API error that lasts: each retry of the same request gets it too, and the script goes on after them."""
    return Turn(error=Failure(status, error_type, message, retry_after))


def hiccup(status: int, error_type: str, message: str, *, retry_after: int | None = None) -> Turn:
    """An API error that the client's next try does not meet: that try is answered by the script's next turn."""
    return Turn(error=Failure(status, error_type, message, retry_after, once=True))


def texts(content: Any) -> list[str]:
    """Every text in a message's content, in order: plain text, text blocks, and what is inside tool results."""
    if isinstance(content, str):
        return [content]
    found: list[str] = []
    for block in content or []:
        if isinstance(block, str):
            found.append(block)
        elif block.get("type") == "text":
            found.append(block.get("text", ""))
        elif block.get("type") == "tool_result":
            found.extend(texts(block.get("content")))
    return found


@dataclass(frozen=True)
class ToolResult:
    """What a tool gave back: its text, and whether the client marked it as an error."""

    tool_use_id: str
    text: str
    error: bool


@dataclass
class Request:
    """One request of the client, as it arrived. `headers` has lower-case names; `arrived` is `time.monotonic()`."""

    body: dict[str, Any]
    headers: dict[str, str]
    path: str = "/v1/messages"
    role: str = ""
    """A name in ScriptedModel's `roles`, or `side` (no tools) or `summary`."""
    number: int = 0
    """The position in `model.requests`."""
    arrived: float = field(default_factory=time.monotonic)
    turn: Turn | None = None
    """What it was answered with; None while the script still thinks."""

    @property
    def session(self) -> str:
        """The client's session id; empty if the client did not say."""
        return self.headers.get("x-claude-code-session-id", "")

    @property
    def agent(self) -> str:
        """The id of the agent run that asks; empty for the main thread."""
        return self.headers.get("x-claude-code-agent-id", "")

    @property
    def conversation(self) -> str:
        """What stays the same through compactions and retries: the session, and the agent run if it is one."""
        return f"{self.session}/{self.agent}" if self.agent else self.session

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the request, of the roles user, assistant and system."""
        return self.body.get("messages") or []

    def text(self) -> str:
        """All texts of all messages, one a line."""
        return "\n".join(text for message in self.messages for text in texts(message.get("content")))

    def new_messages(self) -> list[dict[str, Any]]:
        """The messages since the model last spoke: the person's prompt or tool results, and what hooks injected."""
        last = max((i for i, m in enumerate(self.messages) if m.get("role") == "assistant"), default=-1)
        return self.messages[last + 1 :]

    def last_text(self) -> str:
        """What is new to the model in this request: every text since it last spoke, tool results included."""
        return "\n".join(text for message in self.new_messages() for text in texts(message.get("content")))

    def tool_results(self) -> list[ToolResult]:
        """The tool results since the model last spoke, in order."""
        blocks = [b for m in self.new_messages() if isinstance(m.get("content"), list) for b in m["content"]]
        return [
            ToolResult(b.get("tool_use_id", ""), "\n".join(texts(b.get("content"))), bool(b.get("is_error")))
            for b in blocks
            if isinstance(b, dict) and b.get("type") == "tool_result"
        ]

    @property
    def error(self) -> bool:
        """True if a tool result since the model last spoke is an error."""
        return any(result.error for result in self.tool_results())

    def system_text(self) -> str:
        """The system prompt, its blocks joined by newlines."""
        return "\n".join(texts(self.body.get("system")))

    def tool_names(self) -> list[str]:
        """The names of the tools that the client offers."""
        return [tool.get("name", "") for tool in self.body.get("tools") or []]

    def asks_for_summary(self) -> bool:
        """True for the summariser's request of a compaction."""
        users = [m for m in self.messages if m.get("role") == "user"]
        return bool(users) and any(t.lstrip().startswith(SUMMARY_REQUEST) for t in texts(users[-1].get("content")))

    def retry_key(self) -> str:
        """Equal for a request and its retries: the messages without their cache marks."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: plain(v) for k, v in value.items() if k != "cache_control"}
            return [plain(v) for v in value] if isinstance(value, list) else value

        return json.dumps(plain(self.messages), sort_keys=True)


Script = Generator[Turn, Request, None]
Role = Callable[[Request], Script]
Classifier = Callable[[Request], str]


def by_agents_of(plugin_dir: Path) -> Classifier:
    """A classifier that tells the agents of a plugin by their prompts.

    The client puts the body of `agents/NAME.md` into the system prompt of a run of that agent, a fork included; the
    header `x-claude-code-agent-id` tells an agent run from the main thread. An agent file's role is its NAME.
    """

    def opening(path: Path) -> str:
        body = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        return body.strip().split("\n", 1)[0].strip()

    def classify(request: Request) -> str:
        if not request.agent:
            return "coordinator"
        system = request.system_text()
        for path in sorted((plugin_dir / "agents").glob("*.md")):
            line = opening(path)
            if line and line in system:
                return path.stem
        return "other"

    return classify


@dataclass
class _Conversation:
    script: Script | None = None
    started: bool = False
    failed: tuple[str, Turn | None] = ("", None)
    lock: threading.Lock = field(default_factory=threading.Lock)


class ScriptedModel:
    """The server. Starts at once on a free port of 127.0.0.1; `close()` stops it and raises what a script raised.

    `roles` maps a role's name to its generator function; a conversation without a role in it gets the text
    "unexpected conversation" and is kept in `unexpected`. `classify` is any function from a Request to a role's name.
    """

    def __init__(
        self,
        roles: Mapping[str, Role] | None = None,
        *,
        plugin_dir: Path = REPOSITORY,
        classify: Classifier | None = None,
        summary: Callable[[Request], str] = lambda request: "<summary>The conversation so far.</summary>",
        side: Callable[[Request], str] = lambda request: "ok",
    ) -> None:
        self.roles: dict[str, Role] = dict(roles or {})
        self.classify = classify or by_agents_of(Path(plugin_dir))
        self.summary = summary
        self.side = side
        self.requests: list[Request] = []
        self.summaries: list[Request] = []
        self.unexpected: list[Request] = []
        self.errors: list[BaseException] = []
        self._conversations: dict[str, _Conversation] = {}
        self._lock = threading.Lock()
        self._arrival = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="scripted-model", daemon=True).start()

    def of(self, role: str) -> list[Request]:
        """The requests of one role so far, in order of arrival."""
        with self._lock:
            return [request for request in self.requests if request.role == role]

    def conversations(self, role: str) -> list[str]:
        """The ids of the conversations of a role, in order of their first request."""
        return list(dict.fromkeys(request.conversation for request in self.of(role)))

    def wait_for(self, condition: Callable[[ScriptedModel], bool], timeout: float = 30.0) -> None:
        """Return as soon as the condition holds (asked at each arrival); TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition(self):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"not seen within {timeout} s; requests: {[r.role for r in list(self.requests)]}")
            with self._arrival:
                self._arrival.wait(min(left, 0.2))

    def close(self) -> None:
        """Stop the server; waits are cut short. Raises the first exception of a script, if there was one."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> ScriptedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BaseException as reason:
            raise reason from error

    def answer(self, request: Request) -> Turn:
        """The turn for a request, which is recorded first. Called by the server; a test may call it too."""
        with self._arrival:
            request.number = len(self.requests)
            self.requests.append(request)
            if not request.body.get("tools"):
                request.role = "side"
            elif request.asks_for_summary():
                request.role = "summary"
                self.summaries.append(request)
            else:
                request.role = "unknown"
                try:
                    request.role = self.classify(request)
                except Exception as error:  # Raised by close().
                    self.errors.append(error)
            conversation = self._conversations.setdefault(request.conversation, _Conversation())
            self._arrival.notify_all()
        if request.role == "side":
            request.turn = self._plain(self.side, request)
        elif request.role == "summary":
            request.turn = self._plain(self.summary, request)
        else:
            with conversation.lock:
                request.turn = self._next(conversation, request)
        self._closing.wait(request.turn.delay)
        return request.turn

    def _plain(self, text_of: Callable[[Request], str], request: Request) -> Turn:
        try:
            return say(text_of(request))
        except Exception as error:  # Raised by close().
            self.errors.append(error)
            return say(f"scripted model: {error!r}")

    def _next(self, conversation: _Conversation, request: Request) -> Turn:
        key, failure = conversation.failed
        if failure is not None and key == request.retry_key():
            return failure
        conversation.failed = ("", None)
        first = not conversation.started
        if first:
            role = self.roles.get(request.role)
            if role is None:
                self.unexpected.append(request)
                return say("unexpected conversation")
            conversation.started = True
            conversation.script = role(request)
        script = conversation.script
        if script is None:
            return say("The script is over.")
        try:
            turn = next(script) if first else script.send(request)
            if not isinstance(turn, Turn):
                raise TypeError(f"the script of {request.role} yielded {turn!r}, not a Turn")
        except StopIteration:
            conversation.script = None
            return say("The script is over.")
        except BaseException as error:  # Raised by close(); pytest.fail is no Exception.
            self.errors.append(error)
            conversation.script = None
            return say(f"scripted model: the script of {request.role} raised {error!r}")
        if turn.error is not None and not turn.error.once:
            conversation.failed = (request.retry_key(), turn)
        return turn


def blocks_of(turn: Turn) -> list[dict[str, Any]]:
    """The content blocks of a turn, with fresh tool ids. A turn of neither text nor tools has one empty text."""
    blocks: list[dict[str, Any]] = []
    if turn.text or not turn.tools:
        blocks.append({"type": "text", "text": turn.text})
    for name, tool_input in turn.tools:
        blocks.append({"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": name, "input": tool_input})
    return blocks


def message_of(turn: Turn, model: str) -> dict[str, Any]:
    """The whole answer, as a request without `stream` gets it."""
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks_of(turn),
        "stop_reason": "tool_use" if turn.tools else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": turn.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": turn.output_tokens,
        },
    }


def stream_of(turn: Turn, model: str) -> list[tuple[str, dict[str, Any]]]:
    """The answer as server-sent events: (name, data) in the order of the Messages API."""
    message = message_of(turn, model)
    opening = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    events: list[tuple[str, dict[str, Any]]] = [("message_start", {"message": opening})]
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            start, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events.append(("content_block_start", {"index": index, "content_block": start}))
        events.append(("content_block_delta", {"index": index, "delta": delta}))
        events.append(("content_block_stop", {"index": index}))
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events.append(("message_delta", {"delta": ending, "usage": {"output_tokens": turn.output_tokens}}))
    events.append(("message_stop", {}))
    return [(name, {"type": name, **data}) for name, data in events]


def _handler_of(model: ScriptedModel) -> type[BaseHTTPRequestHandler]:
    """The HTTP side of one model."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the requests are kept."""

        def do_HEAD(self) -> None:
            self._send(200, {})

        def do_GET(self) -> None:
            self._send(404, {"type": "error", "error": {"type": "not_found_error", "message": self.path}})

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            try:
                self._post(json.loads(raw))
            except (BrokenPipeError, ConnectionResetError):
                pass  # The client was killed or interrupted, as crash tests do.

        def _post(self, body: dict[str, Any]) -> None:
            if self.path.split("?")[0].endswith("/count_tokens"):
                return self._send(200, {"input_tokens": 1_000})
            headers = {name.lower(): value for name, value in self.headers.items()}
            turn = model.answer(Request(body, headers, self.path))
            if turn.error is not None:
                error = {"type": turn.error.type, "message": turn.error.message}
                after = turn.error.retry_after
                extra = {} if after is None else {"retry-after": str(after)}
                return self._send(turn.error.status, {"type": "error", "error": error}, extra)
            name = str(body.get("model", "scripted"))
            if not body.get("stream"):
                return self._send(200, message_of(turn, name))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            for event, data in stream_of(turn, name):
                self.wfile.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())
                self.wfile.flush()
            self.close_connection = True

        def _send(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("request-id", f"req_{uuid.uuid4().hex[:24]}")
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(0 if self.command == "HEAD" else len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    return Handler

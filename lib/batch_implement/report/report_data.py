"""The content of a run report: what `run_report` builds, and the HTML, Markdown and JSON reports show.

Texts that others wrote (features, messages, names) are cleaned and shortened, but neither escaped nor trusted.
`headline`, `verdict` and each `what`, except a decision's, are written by this package. Commands hold only names of a
plain alphabet. Times are those of the state, in UTC; durations are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional


@dataclass(frozen=True)
class Span:
    """Something that lasted."""

    since: str
    until: str


@dataclass(frozen=True)
class Bar(Span):
    """An attempt in the time line. `outcome`: see `timeline`."""

    outcome: str
    attempt: int


@dataclass(frozen=True)
class Mark:
    """A moment in the time line: `merged`, `failed` or `done`."""

    at: str
    what: str


@dataclass(frozen=True)
class Lane:
    """A feature in the time line."""

    number: int
    bars: List[Bar]
    marks: List[Mark]


@dataclass(frozen=True)
class TimeLine:
    """The batch from its first start to its last end; lanes in the order in which the features began."""

    begin: str
    end: str
    lanes: List[Lane]
    waits: List[Span]


@dataclass(frozen=True)
class Pause:
    """Why the batch is paused, and when it resumes by itself, if at all."""

    reason: str
    since: Optional[str]
    resume_after: Optional[str]


@dataclass(frozen=True)
class Run:
    """What `batchctl run` did: `head` is the last commit that it merged, `target` the user's branch."""

    branch: Optional[str]
    base_commit: Optional[str]
    head: Optional[str]
    target: Optional[str]
    merge: bool
    jobs: int
    started_at: Optional[str]
    ended_at: Optional[str]
    ended_why: Optional[str]


@dataclass(frozen=True)
class Publication:
    """A push, a pull request or an issue; `url` only when it is safe to link to."""

    number: Optional[int]
    url: Optional[str]
    error: Optional[str] = None


@dataclass(frozen=True)
class Place:
    """Where the work of a failed feature is: `what` is `snapshot`, `branch`, `worktree` or `logs`."""

    what: str
    name: str


@dataclass(frozen=True)
class Need:
    """What needs the user: `missing`, `paused`, `failed`, `published` or `issue`. `said` is the message behind it."""

    kind: str
    numbers: List[int]
    what: str
    said: str
    where: List[Place] = field(default_factory=list)
    commands: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """A next step and its command, to be typed as it is."""

    what: str
    command: str


@dataclass(frozen=True)
class Look:
    """What is worth a look: `no_change`, `without`, `gone`, `stash`, `review`, `decision`, `asserted`, `rewritten`,
    `foreign` or `flaky`.
    """

    kind: str
    number: Optional[int]
    what: str
    said: str = ""

    @property
    def subject(self) -> str:
        """The feature that it is about, for a heading."""
        return f"Feature {self.number}" if self.number else "Between features"


@dataclass(frozen=True)
class Wait:
    """A wait of the run; `until` and `seconds` are None while it lasts."""

    since: Optional[str]
    until: Optional[str]
    seconds: Optional[float]
    reason: Optional[str]
    failure_class: Optional[str]


@dataclass(frozen=True)
class Verify:
    """A run of the verify command that passed."""

    command: str
    exit_code: int
    seconds: Optional[float]
    log: Optional[str]


@dataclass(frozen=True)
class Evidence:
    """What shows that a feature is done. `rewritten` and `foreign` are numbers of commits, `without` the ignored files
    with work that no commit has, `gone` files of the user's that are not there any more, `verified_with` the numbers of
    the features that the same run of the verify command was for.

    `verdict` is the reviewer's on what was completed, `good` or `fix`, else `not reviewed`; `review` is the whole text.
    """

    verify: Optional[Verify]
    verdict: str
    needs_review: bool
    review: Optional[str]
    no_change: Optional[str]
    without: List[str]
    gone: List[str]
    stashes: List[str]
    asserted: bool
    rewritten: int
    foreign: int
    verified_with: List[int]
    at: Optional[str]

    def needs_look(self) -> bool:
        """Return whether the user should look at the feature although it is done."""
        facts = (self.no_change, self.without, self.gone, self.stashes, self.asserted, self.rewritten, self.foreign)
        return any(facts) or self.verdict == "fix"

    def describe_verdict(self) -> str:
        """Return `review: good` or the like; empty where nothing changed, or no review was required and none made."""
        if self.no_change:
            return ""
        if self.verdict != "not reviewed":
            return f"review: {self.verdict}"
        return self.verdict if self.needs_review else ""


@dataclass(frozen=True)
class Merge:
    """How a feature got into the batch's branch, which was at `base_commit`."""

    commit: Optional[str]
    base_commit: Optional[str]
    rebased: bool
    verify_seconds: Optional[float]
    flaky: bool
    at: Optional[str]


@dataclass(frozen=True)
class Failure:
    """A failed attempt, and where its work is."""

    attempt: int
    failure_class: Optional[str]
    message: str
    at: Optional[str]
    snapshot: Optional[str]
    branch: Optional[str]


@dataclass(frozen=True)
class Client:
    """A client of `batchctl run` that worked on a feature."""

    attempt: int
    outcome: Optional[str]
    failure_class: Optional[str]
    message: str
    place: Optional[str]
    branch: Optional[str]
    worktree: Optional[str]
    logs: Optional[str]
    since: Optional[str]
    until: Optional[str]
    seconds: Optional[float]
    turns: int
    cost_usd: float
    tokens: Dict[str, int]
    refusals: Dict[str, int]


@dataclass(frozen=True)
class Feature:
    """A feature. Cost, turns and tokens are those of its clients; None without `batchctl run`."""

    number: int
    text: str
    status: str
    why: Optional[str]
    attempts: int
    issue: Optional[Publication]
    since: Optional[str]
    until: Optional[str]
    seconds: Optional[float]
    cost_usd: Optional[float]
    turns: Optional[int]
    tokens: Optional[Dict[str, int]]
    commit: Optional[str]
    commits: List[Optional[str]]
    branch: Optional[str]
    evidence: Optional[Evidence]
    merge: Optional[Merge]
    sent_back: int
    pull_request: Optional[Publication]
    push: Optional[Publication]
    failures: List[Failure]
    clients: List[Client]

    def count_refusals(self) -> Dict[str, int]:
        """Return how many tool calls of its clients permissions refused, by the rule that would allow them."""
        refusals: Dict[str, int] = {}
        for client in self.clients:
            for rule, count in client.refusals.items():
                refusals[rule] = refusals.get(rule, 0) + count
        return refusals


@dataclass(frozen=True)
class Report:
    """A batch at the time `at`. `run`, `spent` and `time_line` are None without `batchctl run` or before any start."""

    batch_id: str
    at: Optional[str]
    status: str
    verdict: str
    headline: str
    counts: Dict[str, int]
    archived: bool
    source: str
    policy: Dict[str, Any]
    created_at: Optional[str]
    ended_at: Optional[str]
    took_s: Optional[float]
    branch: Optional[str]
    pause: Optional[Pause]
    run: Optional[Run]
    pull_request: Optional[Publication]
    needs: List[Need]
    commands: List[Step]
    looks: List[Look]
    waits: List[Wait]
    spent: Optional[Dict[str, float]]
    budgets: Dict[str, float]
    time_line: Optional[TimeLine]
    features: List[Feature]

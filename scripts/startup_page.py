"""The reference page on starts: its tables come from the planner itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import getsource
from typing import Any, Final

from mstream.config.system import StartupState
from mstream.control.planning import plan_start
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job, Phase
from mstream.domain.plan import Action, JobAction, MarkerPhase, Plan, SeedMarker, Situation, StoredService

_MEMBER: Final = re.compile(r"((?:^ {4}#:[^\n]*\n)+) {4}\w+ = \"(\w+)\"", re.MULTILINE)
_DONE: Final = SeedMarker(phase=MarkerPhase.DONE)

_INTRODUCTION: Final = """\
A start reads the configuration file and everything that is stored, makes a plan, and only then does what the plan says.
The plan is a pure function of what was read; `mstream plan` prints it without doing anything.

## Who decides

`[system.job_lifecycle] startup_state` says whose word counts.

- `seed_from_file`, the default, fills an empty store from the file, once.
  From then on what is stored is resumed, with the intents that operators gave it.
- `force_from_file` runs what the file names, as the file has it: its `enabled` is the intent.
  An operator's stop is overridden, and the plan says whose it was.
  Everything else that is stored is stopped, and stays listed with its definition.
- `keep` ignores the file's connectors and resumes what is stored.

Without a store for jobs nothing is kept, and the file alone decides, every time.
The file's services hold in every state.
"""

_PLAN: Final = """\
## `mstream plan [FILE]`

Prints what a start would do now, and why.
It opens the stores for reading alone and takes no lease, so that it can be used while the program runs.
A database file, a table or a key that is not there is not made.

| option | does |
|---|---|
| `--json` | prints the plan as JSON |
| `--last` | prints what the last start decided, as it has stored it, and `at` what time |

```text
{"startup_state": "seed_from_file", "hash": "…",
 "actions": [{"job": "orders", "action": "resume", "intent": "running", "reason": "…", "changes": []}],
 "services": [{"service": "files", "action": "leave", "origin": "file", "reason": "…"}],
 "drift": [{"kind": "connector", "name": "orders", "reason": "…", "changes": ["sinks.0.resource"]}],
 "notes": []}
```

`intent` is what holds afterwards, null for a job that is not stored or cannot be read.
`changes` are the paths that differ, never values.

The exit code is 0, 3 for a file that is not valid (its problems are printed), 1 when a store cannot be read.
When the key of the stored services is missing, or is another one, they are `invalid`,
and a note says that a start would be refused.

`hash` covers definitions, intents and what is decided about them, no time and nothing that was merely observed.
A service counts with a mark that only the holder of the key can make, so that the hash tells nothing of its secrets;
under another key it is another one.
The very first start makes the key: its hash is not the one that was shown before it.

"""

_DRIFT: Final = """\
## Drift

What will still differ when the plan is carried out is listed as drift:
a connector that file and store define differently, and whatever only one of them has.
Nothing is done about it.
Whether a connector is `enabled` is a wish about its intent and no difference.
"""

_SERVICES: Final = """\
## Services

For equal names the file wins, at every start; what only the store has is there as it is stored.
A stored document that cannot be read or decrypted is `invalid` and stays as it is;
if the file names the service, the file's definition is used.

"""

_INVALID: Final = """\
## Invalid jobs

A stored document that cannot be read stays as it is and is listed as `invalid`, whatever the file says.
So is a job that could not run:

- it names a service that is neither in the file nor stored, or one whose stored copy cannot be read;
- it breaks a rule that the file would be held to, as when its service cannot be a source.

Its intent stays, and everything else starts.
Under `force_from_file` a job whose definition becomes the file's is not invalid,
and one that the file does not name is stopped like any other.
"""


def page() -> str:
    """The whole page, without its title."""
    parts = [
        _INTRODUCTION,
        "\n## When is a store empty?\n\n",
        "A marker in the store decides, never the number of jobs. The file has one connector, enabled:\n\n",
        *_markers(),
        "\n## What becomes of a job\n\n",
        *_actions(),
        "\nBy how the job was left, and by what the file says of it now:\n\n",
        *_jobs(),
        "\n",
        _INVALID,
        "\n",
        _SERVICES,
        *_services(),
        "\n",
        _DRIFT,
        "\n",
        _PLAN,
    ]
    return "".join(parts).rstrip("\n") + "\n"


def _connector(**fields: object) -> ConnectorSpec:
    ref = {"service_name": "files", "resource": "orders"}
    return ConnectorSpec.model_validate({"name": "orders", "source": ref, "sinks": [ref], **fields})


def _planned(state: str = "seed_from_file", **fields: object) -> Plan:
    given: dict[str, Any] = {"connectors": (_connector(),), "services": {"files": "1"}, **fields}
    given.setdefault("stored_services", {"files": StoredService(digest="1", origin="file")})
    return plan_start(Situation(startup_state=state, **given))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _header(*cells: str) -> str:
    return _row(*cells) + "|" + "---|" * len(cells) + "\n"


def _said(action: JobAction) -> str:
    return f"`{action.action}`" + (f", {action.intent}" if action.intent else "")


def _markers() -> Iterator[str]:
    yield _header("marker", "jobs stored", "the file's connector", "marker afterwards", "told")
    begun = SeedMarker(phase=MarkerPhase.BEGUN, connectors=(_connector(),))
    stored = (Job(spec=_connector(), intent=Intent.RUNNING),)
    for name, marker in (("none", None), ("begun", begun), ("done", _DONE)):
        for count, jobs in (("none", ()), ("some", stored)):
            plan = _planned(marker=marker, jobs=jobs)
            told = "; ".join(plan.notes)
            yield _row(name, count, _said(plan.actions[0]), _marker_after(plan, name), told)


def _marker_after(plan: Plan, before: str) -> str:
    if plan.marker is None:
        return before
    if plan.marker.phase is MarkerPhase.BEGUN:
        return "begun, before anything else; done, once everything is stored"
    return f"done ({plan.marker.origin})"


def _actions() -> Iterator[str]:
    yield _header("action", "")
    for comment, name in _MEMBER.findall(getsource(Action)):
        yield _row(f"`{name}`", " ".join(line.strip().removeprefix("#:").strip() for line in comment.splitlines()))


def _jobs() -> Iterator[str]:
    left = {each.value: Job(spec=_connector(), intent=each) for each in Intent}
    left["failed"] = Job(spec=_connector(), intent=Intent.RUNNING, phase=Phase.FAILED)
    files = {
        "the same": (_connector(),),
        "`enabled = false`": (_connector(enabled=False),),
        "changed": (_connector(batch={"size": 1}),),
        "nothing": (),
    }
    for state in StartupState:
        yield _header(f"`{state}`", *files)
        for name, job in left.items():
            plans = (_planned(state, connectors=file, jobs=(job,), marker=_DONE) for file in files.values())
            yield _row(name, *(_said(plan.actions[0]) for plan in plans))
        new = [_planned(state, connectors=file, marker=_DONE, jobs=()) for file in files.values()]
        yield _row("not stored", *(_said(plan.actions[0]) if plan.actions else "" for plan in new))
        if state is not StartupState.KEEP:
            yield "\n"


def _services() -> Iterator[str]:
    yield _header("stored copy", "action", "")
    copies: dict[str, dict[str, StoredService]] = {
        "none": {},
        "the same": {"files": StoredService(digest="1", origin="file")},
        "another": {"files": StoredService(digest="2", origin="file")},
        "the same, made through the API": {"files": StoredService(digest="1", origin="api")},
        "of a service that the file does not name": {"other": StoredService(digest="1", origin="file")},
    }
    for name, copy in copies.items():
        action = _planned(stored_services=copy).services[-1]
        yield _row(name, f"`{action.action}`", action.reason)

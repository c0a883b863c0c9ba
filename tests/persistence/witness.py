"""Whoever stands at the servers: sees every write and delivery as it takes effect, and what must never be seen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mstream.domain.plan import MarkerPhase
from mstream.domain.run import RunSpec
from mstream.ports.documents import Document, Stored
from mstream.providers.memory.documents import MemoryCollection, MemoryDocuments
from mstream.stores.jobs import from_document
from tests.persistence.ledger import Ledger

#: What a command makes of an intent; a definition and its end go with these too.
TARGETS = {
    "start": "running",
    "resume": "running",
    "restart": "running",
    "stop": "stopped",
    "pause": "paused",
    "delete": "stopped",
}
_WANTED = frozenset({"running", "finishing"})


@dataclass
class Command:
    """What an operator has asked for, and what became of it."""

    who: str
    verb: str
    job: str
    issued_at: float
    #: "accepted", "refused", or "" while nobody knows.
    answer: str = ""


@dataclass
class Witness:
    """The servers, and all that happened there."""

    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    violations: list[str] = field(default_factory=list)
    #: One line per event, for people.
    told: list[str] = field(default_factory=list)
    commands: dict[str, Command] = field(default_factory=dict)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    #: When each epoch began, by true time.
    tenures: list[tuple[int, float]] = field(default_factory=list)
    #: Who believes at this moment that they own.
    owners: Callable[[], Sequence[str]] = lambda: ()
    #: A start may change what is intended.
    decides: bool = False
    #: The sources get no more.
    is_closed: bool = False
    #: When each command took effect, and every intent that each job ever had.
    _effects: dict[str, float] = field(default_factory=dict)
    _intents: dict[str, list[tuple[float, str | None]]] = field(default_factory=dict)
    #: Intent and ledger of each run, as it was claimed.
    _claims: dict[str, tuple[str, Ledger]] = field(default_factory=dict)
    #: How often each job was taken away: what is made again under its name begins anew.
    _removals: Counter[str] = field(default_factory=Counter)

    def stored(self, name: str, key: str) -> Document | None:
        """As it stands there; not to be changed."""
        collection = self.documents.collection(name)
        assert isinstance(collection, MemoryCollection)
        stored: Stored | None = collection._stored.get(key)
        return None if stored is None else stored.document

    def tell(self, text: str) -> None:
        self.told.append(f"{now():9.3f} {text}")

    def violated(self, text: str) -> None:
        """What must never be."""
        self.tell(f"VIOLATED {text}")
        self.violations.append(f"at {now():.3f}: {text}")

    def require(self, holds: bool, text: str) -> None:
        if not holds:
            self.violated(text)

    # ---------------------------------------------------------------------------------------------------- documents
    def written(self, who: str, epoch: int, name: str, key: str, before: Document | None, after: Document) -> None:
        """A document was put there."""
        self.look()
        match name:
            case "jobs":
                self._job_written(who, key, before, after)
            case "places":
                self._place_written(who, key, before, after)
            case "system" if key == "lease":
                self._lease_written(who, before, after)

    def deleted(self, who: str, epoch: int, name: str, key: str, before: Document | None) -> None:
        """A document was taken away."""
        self.look()
        if before is None or name not in {"jobs", "places"}:
            return
        self.tell(f"{who} deletes {name}/{key}")
        stored = int(before.get("epoch", 0))
        self.require(stored <= epoch, f"{who} (epoch {epoch}) deletes {name}/{key} of epoch {stored}")
        if name == "jobs":
            self.require(bool(before["removing"]), f"{who} deletes {key}, whose removal was not stored")
            self._intents[key].append((now(), None))
            self._removals[key] += 1

    def look(self) -> None:
        """Never two at once."""
        owners = self.owners()
        self.require(len(owners) <= 1, f"{' and '.join(owners)} hold the lease at one moment")

    def newer_since(self, epoch: int) -> float:
        """When somebody first owned in a higher epoch."""
        return min((at for each, at in self.tenures if each > epoch), default=float("inf"))

    def _lease_written(self, who: str, before: Document | None, after: Document) -> None:
        last = self.tenures[-1][0] if self.tenures else 0
        if before is not None and before["epoch"] == after["epoch"] and before["instance"] == after["instance"]:
            return
        self.tell(f"{who} owns, epoch {after['epoch']}")
        self.require(after["epoch"] > last, f"epoch {after['epoch']} of {who} follows {last}")
        self.tenures.append((after["epoch"], now()))

    def _place_written(self, who: str, key: str, before: Document | None, after: Document) -> None:
        order = (after["epoch"], after["sequence"])
        if before is not None:
            stood = (before["epoch"], before["sequence"])
            self.require(order > stood, f"{who} writes checkpoint {key} {order} over {stood}")
        ledger = self.ledger(key.partition("/")[0], str(after["fingerprint"]).rpartition(":")[2])
        for position in after["positions"].values():
            self.require(
                position <= ledger.delivered, f"{who} saves {key} at {position} of {ledger.delivered} delivered"
            )

    def _job_written(self, who: str, key: str, before: Document | None, after: Document) -> None:
        self.tell(
            f"{who} writes {key}: {after['intent']} {after['phase']} epoch {after['epoch']}"
            f" run {str(after['run_id'])[:4]}{' removing' if after['removing'] else ''}"
        )
        change, intent = after["last_change"], after["intent"]
        if before is not None:
            self.require(after["epoch"] >= before["epoch"], f"{who} writes {key} over epoch {before['epoch']}")
            is_other = (before["intent"], before["pipeline"]) != (intent, after["pipeline"])
            is_new = change != before["last_change"]
            self.require(is_new or not is_other, f"{who} changes {key} without a command")
            self.require(not before["removing"] or after["removing"], f"{who} brings {key} back")
        else:
            is_other = is_new = True
            self.require(change["verb"] in {"create", "start", "add"}, f"{who} makes {key} by {change['verb']}")
        if after["phase"] == "starting":
            ledger = self.ledger(key, after["pipeline"]["source"]["resource"])
            self._claims.setdefault(after["run_id"], (intent, ledger))
        if is_new:
            self._changed(key, before, after, change)
            self._intents.setdefault(key, []).append((now(), intent))

    def _changed(self, key: str, before: Document | None, after: Document, change: Mapping[str, Any]) -> None:
        who, verb, intent = change["by"]["who"], change["verb"], after["intent"]
        if who == "plan":
            self.require(before is None or self.decides or verb == "delete", f"a start changes {key} by {verb}")
            return
        command = self.commands.get(who)
        if command is None:
            self.violated(f"nobody has ordered {verb} {key}")
            return
        self.require((command.verb, command.job) == (verb, key), f"{who} was {command.verb} {command.job}")
        self.require(who not in self._effects, f"{who} {verb} {key} takes effect twice")
        self.require(command.answer != "refused", f"{who} {verb} {key} was refused and takes effect")
        if verb in TARGETS:
            self.require(intent == TARGETS[verb], f"{verb} {key} makes it {intent}")
            self.require(
                before is not None and before["pipeline"] == after["pipeline"], f"{verb} {key} changes its definition"
            )
        elif before is not None:
            self.require(intent == before["intent"], f"{verb} {key} makes it {intent}")
        self._effects[who] = now()

    # ----------------------------------------------------------------------------------------------------- commands
    def ordered(self, command: Command) -> None:
        self.commands[command.who] = command
        self.tell(f"{command.who}: {command.verb} {command.job}")

    def answered(self, command: Command, answer: str, why: str = "") -> None:
        """An accepted one has taken effect by now, or there was nothing to do."""
        command.answer = answer
        self.tell(f"{command.who}: {answer or 'not known'} {why}")
        effect = self._effects.get(command.who)
        if answer == "refused":
            self.require(effect is None, f"{command.who} {command.verb} {command.job} was refused and has taken effect")
        if answer == "accepted" and effect is None:
            target = TARGETS.get(command.verb)
            before = [each for at, each in self._intents.get(command.job, []) if at <= command.issued_at]
            during = [each for at, each in self._intents.get(command.job, []) if at > command.issued_at]
            self.require(
                command.verb != "delete" and target in [*before[-1:], *during],
                f"{command.who} {command.verb} {command.job} was accepted and nothing of it is stored",
            )

    # --------------------------------------------------------------------------------------------------------- runs
    def ledger(self, job: str, log: str) -> Ledger:
        """Of the source and the sink of a job, since it was last made."""
        key = f"{log}.{self._removals[job]}"
        if key not in self.ledgers:
            self.ledgers[key] = Ledger(key, self)
            if self.is_closed:
                self.ledgers[key].close()
        return self.ledgers[key]

    def close(self) -> None:
        """No source gets anything more."""
        self.is_closed = True
        for each in self.ledgers.values():
            each.close()

    def launched(self, who: str, spec: RunSpec) -> Ledger:
        """A run is handed over."""
        self.tell(f"{who} launches {spec.job} run {spec.run_id[:4]} epoch {spec.epoch} at {dict(spec.positions)}")
        intent, ledger = self._claims[spec.run_id]
        self.require(intent in _WANTED, f"{who} runs {spec.job}, claimed as {intent}")
        marker = self.stored("system", "seed")
        self.require(
            marker is None or marker["phase"] == MarkerPhase.DONE.value, f"{who} runs {spec.job} amid the filling"
        )
        return ledger

    def phases(self) -> dict[str, tuple[str, str]]:
        """Intent and phase of every stored job."""
        collection = self.documents.collection("jobs")
        assert isinstance(collection, MemoryCollection)
        jobs = [from_document({**each.document, "name": key}) for key, each in collection._stored.items()]
        return {each.name: (each.intent.value, each.phase.value) for each in jobs if not each.removing}


def now() -> float:
    """True time."""
    return asyncio.get_running_loop().time()

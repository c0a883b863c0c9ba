"""`python -m tests.chaos SUITE`: kill at full scale, and write down what came of it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos import kafka, kafka_flows, mongodb, mongodb_flows, persistence
from tests.chaos.delivery import Broken, Delivery
from tests.chaos.flows import TARGETS
from tests.chaos.restart import Restarts
from tests.servers.kafka import KafkaCluster

REPORTS = Path(__file__).resolve().parents[2] / "docs" / "reports"
#: About what a kill with its restart takes; sets the writer's rate.
_SECONDS_PER_KILL = 2.0
#: Kills, or turns, of a full run.
_FULL = {"delivery": 200, "kafka": 200, "mongodb": 100, "persistence": 2000, "restart": 1000}
#: A group that has lost members waits for their sessions to end.
_SECONDS_PER_KAFKA_KILL = 10.0
_BROKERS = 3
#: Kills that suffice for a flow that must fail.
_FEW = 4


def main() -> int:
    """Run a suite; 0 when every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("suite", choices=sorted(_FULL))
    parser.add_argument(
        "--kills", type=int, help=f"how many; turns, of `restart` (default: {_FULL}; then they are written down)"
    )
    parser.add_argument("--seconds", type=float, help="go on for so long")
    parser.add_argument("--records", type=int, default=50_000, help="of each flow of `delivery`, `kafka` and `mongodb`")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", default="", help="flows or legs whose name holds this text")
    parser.add_argument("--parallel", type=int, default=2, help="worlds at the same time, of `persistence`")
    parser.add_argument("--resume", action="store_true", help="count what docs/reports has of this suite already")
    chosen = parser.parse_args()
    if chosen.seed is None:
        chosen.seed = persistence.new_seed()
    suites = {
        "delivery": _delivery,
        "kafka": _kafka,
        "mongodb": _mongodb,
        "persistence": _persistence,
        "restart": _restart,
    }
    return suites[chosen.suite](chosen)


def _delivery(chosen: argparse.Namespace) -> int:
    kills = None if chosen.seconds else chosen.kills or _FULL["delivery"]
    per_second = chosen.records / (chosen.seconds or (kills or 0) * _SECONDS_PER_KILL)
    for target in TARGETS:
        if chosen.only not in target.name:
            continue
        with tempfile.TemporaryDirectory(prefix="mstream-chaos-") as folder:
            delivery = Delivery(target(Path(folder)), records=chosen.records, per_second=per_second, seed=chosen.seed)
            try:
                run = delivery.run(kills=kills, seconds=chosen.seconds)
            except Broken as broken:
                print(f"{target.name}, seed {chosen.seed}: {broken}", file=sys.stderr)
                return 1
        print(json.dumps(run.report()), flush=True)
        if chosen.kills is None and chosen.seconds is None:
            _write_part("delivery", {"flow": target.name, **_where(), **run.report()})
    return 0


def _kafka(chosen: argparse.Namespace) -> int:
    """The kills of a full run are those of all flows; of a shorter one, of each."""
    kills = chosen.kills or -(-_FULL["kafka"] // sum(not each.must_fail for each in kafka_flows.TARGETS))
    per_second = chosen.records / (kills * _SECONDS_PER_KAFKA_KILL)
    cluster = KafkaCluster(_BROKERS)
    try:
        cluster.start()
        for target in kafka_flows.TARGETS:
            if chosen.only not in target.name:
                continue
            options = {"records": chosen.records, "seed": chosen.seed, "kills": kills, "per_second": per_second}
            if target.must_fail:
                options |= {"records": _FEW * int(per_second * _SECONDS_PER_KAFKA_KILL), "kills": _FEW}
            with tempfile.TemporaryDirectory(prefix="mstream-chaos-") as folder:
                try:
                    report = _kafka_report(target, Path(folder), cluster, options)
                except Broken as broken:
                    kept = tempfile.mkdtemp(prefix="mstream-chaos-broken-")
                    shutil.copytree(folder, kept, dirs_exist_ok=True)
                    print(f"{target.name}, seed {chosen.seed}: {broken}; kept in {kept}", file=sys.stderr)
                    return 1
            print(json.dumps(report), flush=True)
            if chosen.kills is None:
                _write_part("kafka", {"flow": target.name, **_where(), **report})
    finally:
        cluster.remove()
    return 0


def _kafka_report(
    target: type[kafka_flows.TopicTarget], folder: Path, cluster: KafkaCluster, options: dict[str, Any]
) -> dict[str, Any]:
    if target.must_fail:
        return kafka.run_twin(target, folder, cluster.brokers, **options)
    return kafka.run(target, folder, cluster.brokers, **options)[1]


def _mongodb(chosen: argparse.Namespace) -> int:
    kills = None if chosen.seconds else chosen.kills or _FULL["mongodb"]
    per_second = chosen.records / (chosen.seconds or (kills or 0) * _SECONDS_PER_KILL)
    for target in mongodb_flows.TARGETS:
        if chosen.only not in target.name:
            continue
        with tempfile.TemporaryDirectory(prefix="mstream-chaos-") as folder:
            delivery = partial(mongodb.run, target, Path(folder), records=chosen.records, per_second=per_second)
            try:
                run = delivery(seed=chosen.seed, kills=kills, seconds=chosen.seconds)
            except Broken as broken:
                print(f"{target.name}, seed {chosen.seed}: {broken}", file=sys.stderr)
                return 1
        report = mongodb.report(run, target)
        print(json.dumps(report), flush=True)
        if chosen.kills is None and chosen.seconds is None:
            _write_part("mongodb", {"flow": target.name, **_where(), **report})
    return 0


def _persistence(chosen: argparse.Namespace) -> int:
    """Every part is written down as soon as it is through, so that the rest can be done later."""
    parts = _earlier("persistence") if chosen.resume else []
    wanted = None if chosen.seconds else (chosen.kills or _FULL["persistence"]) - sum(each["kills"] for each in parts)
    if wanted is not None and wanted <= 0:
        print("that many are done already")
        return 0
    legs = persistence.run(
        kills=wanted, seconds=chosen.seconds, seed=chosen.seed, parallel=chosen.parallel, only=chosen.only
    )
    part = {**_where(), "kills": sum(each["kills"] for each in legs), "legs": legs}
    print(json.dumps(part, indent=2), flush=True)
    if chosen.seconds is None and not chosen.only:
        parts.append(part)
        write({"suite": "persistence", "kills": sum(each["kills"] for each in parts), "parts": parts})
    return 1 if any(each.get("violations") or each.get("cut_off_by") for each in legs) else 0


def _restart(chosen: argparse.Namespace) -> int:
    count = chosen.kills or _FULL["restart"]
    for turn in (Restarts.restarts, Restarts.stops, Restarts.ends):
        if chosen.only not in turn.__name__:
            continue
        with tempfile.TemporaryDirectory(prefix="mstream-chaos-") as folder:
            try:
                turns = turn(Restarts(Path(folder), chosen.seed), count)
            except AssertionError as broken:
                print(f"{turn.__name__}, seed {chosen.seed}: {broken}", file=sys.stderr)
                return 1
        print(json.dumps(turns.report()), flush=True)
        if chosen.kills is None:
            _write_part("restart", {"turns": turns.verb, **_where(), "seed": chosen.seed, **turns.report()})
    return 0


def _where() -> dict[str, Any]:
    return {"commit": persistence.commit(), "machine": persistence.machine()}


def _write_part(suite: str, part: dict[str, Any]) -> None:
    """Written down as soon as it is through, in place of what was there of the same name: its first field."""
    name = next(iter(part))
    others = [each for each in _earlier(suite) if each[name] != part[name]]
    write({"suite": suite, "parts": [*others, part]})


def write(report: dict[str, Any]) -> None:
    """Into docs/reports."""
    REPORTS.mkdir(exist_ok=True)
    path = REPORTS / f"chaos-{report['suite']}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {path.relative_to(REPORTS.parents[1])}")


def _earlier(suite: str) -> list[dict[str, Any]]:
    path = REPORTS / f"chaos-{suite}.json"
    parts: list[dict[str, Any]] = json.loads(path.read_text())["parts"] if path.exists() else []
    return parts


if __name__ == "__main__":
    sys.exit(main())

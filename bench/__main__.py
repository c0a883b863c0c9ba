"""`python -m bench`: run every comparison, alternating, and print medians, ratios and the noise between equals."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bench import boot, bson, kafka, keys, mongodb, once, records, stage
from bench.flows import CONTENDERS, FLOWS, Flow, Trial
from bench.process import Measured

_PARTS = ("flows", "stage", "bson", "mongodb", "snapshot", "once", "kafka", "memory", "keys", "boot")
_WAYS = {
    "file": "change stream to a file",
    "insert": "change stream to a collection, insert",
    "replace": "change stream to a collection, replace",
    mongodb.SNAPSHOT: "snapshot to a file of BSON",
}


class Unequal(Exception):
    """Two contenders did not write the same."""


def main() -> int:  # noqa: C901, PLR0912 - a line for each part
    """Measure what is asked for; 0 when it ran, whatever the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="|".join(_PARTS), help="default: all")
    parser.add_argument("--records", type=int, default=1_000_000, help="records of a flow (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (default: %(default)s)")
    parser.add_argument("--only", default="", help="flows whose name holds this text")
    chosen = parser.parse_args()
    parts = chosen.parts or _PARTS
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    with tempfile.TemporaryDirectory(prefix="mstream-bench-") as folder:
        if "stage" in parts:
            compare_stage(min(chosen.records, 200_000), chosen.rounds)
        if "bson" in parts:
            compare_bson(8 * chosen.rounds)
        if "flows" in parts:
            for flow in FLOWS:
                if chosen.only in flow.name:
                    compare_flow(flow, Path(folder), chosen.records, chosen.rounds)
        if "mongodb" in parts:
            for sink in (each for each in mongodb.SINKS if chosen.only in each):
                compare_stream(sink, Path(folder), min(chosen.records, 200_000), chosen.rounds)
        if "snapshot" in parts:
            compare_stream(mongodb.SNAPSHOT, Path(folder), chosen.records, chosen.rounds)
        if "once" in parts:
            compare_once(Path(folder), min(chosen.records, 200_000), chosen.rounds)
        if "kafka" in parts:
            compare_topics(Path(folder), min(chosen.records, 300_000), chosen.rounds, chosen.only)
        if "memory" in parts:
            compare_memory(Path(folder), chosen.records)
        if "keys" in parts:
            compare_keys(Path(folder), 10_000, chosen.rounds)
        if "boot" in parts:
            compare_boot(Path(folder), min(chosen.records, 10_000), chosen.rounds)
    return 0


def compare_boot(folder: Path, count: int, rounds: int) -> None:
    """A start over so many stored jobs and services; then state writes, mstream's and the driver's alone."""
    home = folder / "boot"
    home.mkdir()
    file = boot.file_of(home, os.environ.get("MSTREAM_BENCH_STORE"))
    asyncio.run(boot.fill(file, count))
    found = [asyncio.run(boot.start(file)) for _ in range(rounds)]
    print(f"\nstart over {count:,} stopped jobs and as many encrypted services, medians of {rounds}")
    for title, values in (
        ("to the complete plan", [each.planned_sec for each in found]),
        ("of it services: read, decrypt, validate", [each.services_sec for each in found]),
        ("of it jobs: read, validate, plan", [each.jobs_sec for each in found]),
        ("every job supervised", [each.supervised_sec for each in found]),
    ):
        print(f"  {title:42} {statistics.median(values):8.2f} s")
    print(f"  {'memory per stopped job':42} {statistics.median(each.bytes_per_job for each in found) / 1024:8.1f} KiB")
    rates: dict[str, list[float]] = defaultdict(list)
    for turn in range(rounds):
        for name, write in (
            ("mstream, 16 jobs at once", partial(boot.states, jobs=16)),
            ("bare driver", boot.bare_states),
            ("mstream, one job after the other", partial(boot.states, jobs=1)),
            ("mstream again, 16 jobs at once", partial(boot.states, jobs=16)),
        ):
            place = home / f"{turn}-{name.replace(' ', '-')}"
            place.mkdir()
            rates[name].append(write(place, 1600))
    bare = statistics.median(rates["bare driver"])
    print("\nstate writes per second, each a read and a compare-and-set")
    for name, values in rates.items():
        middle = statistics.median(values)
        print(f"  {name:42} {middle:8,.0f}/s   {middle / bare:5.2f} x bare")


def compare_flow(flow: Flow, folder: Path, count: int, rounds: int) -> None:
    """mstream, mstream again (the noise), the bare loop, the bare loop with the same allocator."""
    source = orders(folder, count)
    order = [CONTENDERS[0], *CONTENDERS[1:], "mstream again"]
    found: dict[str, list[Measured]] = defaultdict(list)
    for turn in range(rounds):
        digests = {}
        for contender in order if turn % 2 == 0 else reversed(order):
            trial = Trial(flow, contender, folder / "trial", source, count)
            found[contender].append(trial.run())
            digests[contender] = trial.digest()
            shutil.rmtree(trial.folder)
        if len(set(digests.values())) != 1:
            raise Unequal(f"{flow.name}: {digests}")
    show(flow.name, found, count, rounds)


def show(title: str, found: Mapping[str, Sequence[Measured]], count: int, rounds: int) -> None:
    """Medians, and what they are to ours: to that of all our runs where we ran twice, which differ by noise alone."""
    rates = {name: statistics.median(each.records_per_second for each in runs) for name, runs in found.items()}
    own = [*found.get("mstream", next(iter(found.values()))), *found.get("mstream again", ())]
    ours = statistics.median(each.records_per_second for each in own)
    print(f"\n{title}, {count:,} records, {rounds} rounds, equal outputs")
    for name, runs in found.items():
        spread = [each.records_per_second for each in runs]
        memory = max(each.memory for each in runs)
        print(
            f"  {name:22} {rates[name]:>11,.0f} records/s  ours ÷ this {ours / rates[name]:5.2f}"
            f"  ({min(spread):,.0f} to {max(spread):,.0f})  {memory:4.0f} MiB",
            flush=True,
        )


def compare_stream(sink: str, folder: Path, count: int, rounds: int) -> None:
    """From a change stream, or from a collection: mstream, the bare loop, mstream again (the noise)."""
    size = mongodb.size_of(sink, count)
    found: dict[str, list[Measured]] = defaultdict(list)
    taken: dict[str, list[float]] = defaultdict(list)
    for turn in range(rounds):
        digests = {}
        for contender in mongodb.CONTENDERS if turn % 2 == 0 else reversed(mongodb.CONTENDERS):
            trial = mongodb.Trial(sink, contender, folder / "trial", count, size)
            result = trial.run()
            found[contender].append(result.measured)
            taken[contender].append(result.processor)
            digests[contender] = result.digest
            shutil.rmtree(trial.folder)
        if len(set(digests.values())) != 1:
            raise Unequal(f"MongoDB, {sink}: {digests}")
    show(_WAYS[sink], found, count, rounds)
    show_processor(taken)


def show_processor(taken: Mapping[str, Sequence[float]]) -> None:
    """What a record takes, and what that is to the first of them: the median of each round's ratio."""
    first = next(iter(taken.values()))
    for name, spent in taken.items():
        ratio = statistics.median(one / ours for one, ours in zip(spent, first, strict=True))
        print(f"  {name:22} {statistics.median(spent):8.1f} µs of the processor a record  this ÷ ours {ratio:5.2f}")


def compare_topics(folder: Path, count: int, rounds: int, only: str) -> None:
    """From topic to topic on one broker, counted at the destination."""
    with kafka.broker() as broker:
        for way in (each for each in kafka.WAYS if only in each.name):
            size = min(count, count * 3000 // way.size)
            found: dict[str, list[Measured]] = defaultdict(list)
            taken: dict[str, list[float]] = defaultdict(list)
            for turn in range(rounds):
                digests = {}
                for contender in way.contenders if turn % 2 == 0 else reversed(way.contenders):
                    result = kafka.Trial(way, contender, folder / "trial", size, broker).run()
                    found[contender].append(result.measured)
                    taken[contender].append(result.processor)
                    digests[contender] = result.digest
                    shutil.rmtree(folder / "trial")
                if len(set(digests.values())) != 1:
                    raise Unequal(f"{way.name}: {digests}")
            show(way.name, found, size, rounds)
            show_processor(taken)


def compare_once(folder: Path, count: int, rounds: int) -> None:
    """Each batch and its checkpoint in one transaction, against batches alone and a checkpoint now and then."""
    played: dict[str, list[Measured]] = defaultdict(list)
    taken: dict[str, list[float]] = defaultdict(list)
    for turn in range(rounds):
        for contender in once.CONTENDERS if turn % 2 == 0 else reversed(once.CONTENDERS):
            measured, processor = once.run_played(contender, folder / "trial", count)
            played[contender].append(measured)
            taken[contender].append(processor)
            shutil.rmtree(folder / "trial")
    show("change stream to a collection of a server that plays, insert", played, count, rounds)
    show_processor(taken)
    found: dict[str, list[Measured]] = defaultdict(list)
    with once.target() as server:
        for turn in range(rounds):
            for contender in once.CONTENDERS if turn % 2 == 0 else reversed(once.CONTENDERS):
                found[contender].append(once.run(server, contender, folder / "trial", turn))
                shutil.rmtree(folder / "trial")
    show("change stream to a collection of nx-27017, insert", found, once.COUNT, rounds)


def compare_memory(folder: Path, count: int) -> None:
    """Peak memory of owner and workers must not grow with the input."""
    print("\npeak memory of owner and workers, file to file")
    for flow in (FLOWS[0], FLOWS[3]):
        for size in (count // 4, count, count * 2):
            trial = Trial(flow, "mstream", folder / "trial", orders(folder, size), size)
            print(f"  {flow.name:28} {size:>10,} records  {trial.run().memory:5.0f} MiB", flush=True)
            shutil.rmtree(trial.folder)


def compare_stage(count: int, rounds: int) -> None:
    """The script stage alone."""
    payloads = records.payloads(count)
    taken: dict[str, list[float]] = defaultdict(list)
    contenders = [*stage.contenders().items(), ("transform_batch again", stage.contenders()["transform_batch"])]
    for turn in range(rounds):
        digests = {}
        for name, contender in contenders if turn % 2 == 0 else reversed(contenders):
            seconds, found = contender(payloads)
            taken[name].append(seconds)
            digests[name] = stage.digest(found)
        if len(set(digests.values())) != 1:
            raise Unequal(f"script stage: {digests}")
    rates = {name: count / statistics.median(each) for name, each in taken.items()}
    print(f"\nscript stage, {count:,} records, {rounds} rounds, equal outputs")
    for name, rate in rates.items():
        print(
            f"  {name:22} {rate:>11,.0f} records/s  ÷ mq-bridge {rate / rates['mq-bridge']:5.2f}"
            f"  ÷ mq-bridge with orjson {rate / rates['mq-bridge, orjson']:5.2f}",
            flush=True,
        )


def compare_bson(rounds: int) -> None:
    """BSON to flat JSON and back, the conversion alone."""
    for kind, make in bson.KINDS.items():
        payloads = make(bson.BATCH)
        if bson.meanings(bson.mstream(payloads)) != bson.meanings(bson.bare(payloads)):
            raise Unequal(f"BSON to flat JSON: {kind}")
        _compare_conversion(f"BSON to flat JSON, {kind}", bson.CONTENDERS, payloads, rounds)
        lines = bson.mstream(payloads)
        if bson.mstream_back(lines) != bson.bare_back(lines):
            raise Unequal(f"JSON to BSON: {kind}")
        _compare_conversion(f"JSON to BSON, {kind}", bson.BACK, lines, rounds)


def _compare_conversion(title: str, named: Mapping[str, bson.Convert], payloads: Sequence[bytes], rounds: int) -> None:
    """The median of each round's ratio, which load disturbs least."""
    taken: dict[str, list[float]] = defaultdict(list)
    contenders = list(named.items())
    for turn in range(rounds):
        for name, convert in contenders if turn % 2 == 0 else reversed(contenders):
            taken[name].append(bson.seconds(convert, payloads))
    size = sum(map(len, payloads)) / len(payloads)
    print(f"\n{title}, {len(payloads):,} of {size:.0f} bytes, {rounds} rounds, equal outputs")
    for name, found in taken.items():
        ratio = statistics.median(bare / own for bare, own in zip(taken["bare"], found, strict=True))
        each = statistics.median(found) / len(payloads) * 1e6
        print(f"  {name:22} {each:8.1f} µs of the processor a document  ÷ bare {ratio:5.2f}", flush=True)


def compare_keys(folder: Path, count: int, rounds: int) -> None:
    """Services brought under a new key."""
    keys.prepare(folder / "keys", count)
    taken: dict[str, list[float]] = defaultdict(list)
    contenders = list(keys.contenders().items())
    for turn in range(rounds):
        for name, contender in contenders if turn % 2 == 0 else reversed(contenders):
            copy = keys.copied(folder / "keys", folder / "copy")
            taken[name].append(contender(copy))
            if len(keys.names_under_new_key(copy)) != count:
                raise Unequal(f"keys: {name}")
    rates = {name: count / statistics.median(each) for name, each in taken.items()}
    print(f"\nrotation of the key, {count:,} services in SQLite, {rounds} rounds, all under the new key afterwards")
    for name, rate in rates.items():
        print(f"  {name:22} {rate:>11,.0f} services/s  ours ÷ this {rates['mstream'] / rate:5.2f}", flush=True)


def orders(folder: Path, count: int) -> Path:
    """An input of so many records, made once."""
    path = folder / f"orders-{count}" / "orders.jsonl"
    if not path.exists():
        path.parent.mkdir()
        records.write(path, count)
    return path


if __name__ == "__main__":
    sys.exit(main())

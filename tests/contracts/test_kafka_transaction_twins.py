"""Each check of transactions with a group catches a sink that is wrong in just that way."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from mstream.domain.batch import Batch
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.roles import Failure
from mstream.providers.kafka.handles import GroupHandle
from mstream.providers.kafka.sink import KafkaSink
from mstream.providers.kafka.source import KafkaSource
from tests.contracts import kafka_transaction_checks as checks
from tests.contracts.kafka_transaction_checks import Check, Shop
from tests.servers.kafka import KafkaTopics

pytestmark = pytest.mark.timeout(120)


@dataclass
class Twin:
    """A sink like ours; what is wrong stands in the classes below."""

    sink: KafkaSink
    source: KafkaSource

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        return await self.sink.write_with(batches, checkpoint)


class RecordsAlone(Twin):
    """It leaves the places to somebody else."""

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        return await super().write_with(batches, replace(checkpoint, positions={}))


class NeedsRecords(Twin):
    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        return await super().write_with(batches, checkpoint) if any(map(len, batches)) else ()


class WritesTheRest(Twin):
    """It commits what is left when some are refused."""

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        failures = await super().write_with(batches, checkpoint)
        if failures:
            start, gone = 0, {each.index for each in failures}
            rest = []
            for each in batches:
                rest.append(each.without([at - start for at in gone if start <= at < start + len(each)]))
                start += len(each)
            await super().write_with(rest, checkpoint)
        return failures


class NamesThemAll(Twin):
    """One that is refused takes its neighbours with it."""

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        failures = await super().write_with(batches, checkpoint)
        return [replace(failures[0], index=at) for at in range(sum(map(len, batches)))] if failures else ()


class SaysNothing(Twin):
    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        return () if checkpoint.source_handle is None else await super().write_with(batches, checkpoint)


class Outsider(GroupHandle):
    has_generation = True


class OfNobody(Twin):
    """It commits between two generations, too."""

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        handle = checkpoint.source_handle
        assert isinstance(handle, GroupHandle)
        outside = Outsider(group=self.shown_as(handle.group), note=handle.note)
        return await super().write_with(batches, replace(checkpoint, source_handle=outside))

    def shown_as(self, group: bytes) -> bytes:
        return group


class OfAnyGeneration(OfNobody):
    """It commits by the name of the group alone."""

    def shown_as(self, group: bytes) -> bytes:
        mark, names = group[:7], group[11:].split(b"\0")
        return mark + b"\xff" * 4 + names[0] + b"\0\0\1"  # without a member, and none that is static


@dataclass
class Wrong(Shop):
    """It opens the wrong sink."""

    twin: type[Twin] = Twin

    def wrapped(self, sink: KafkaSink, source: KafkaSource) -> Twin:
        return self.twin(sink, source)


class WithoutName(Shop):
    """Nobody knows whom its sinks follow."""

    async def fence(self, sink: KafkaSink, member: int) -> None:
        await sink.fence(secrets.token_hex(4), member)


TWINS: list[tuple[Check, type[Twin | Shop]]] = [
    (checks.check_records_and_offsets_are_there_together, RecordsAlone),
    (checks.check_positions_alone_are_committed_too, NeedsRecords),
    (checks.check_a_record_that_is_refused_is_told_and_nothing_is_there, WritesTheRest),
    (checks.check_who_is_fenced_commits_nothing, WithoutName),
    (checks.check_another_generation_of_the_group_commits_nothing, OfAnyGeneration),
    (checks.check_what_a_killed_writer_has_left_open_is_given_up_at_once, WithoutName),
    (checks.check_a_commit_without_a_group_is_refused, SaysNothing),
    (checks.check_what_the_broker_alone_refuses_is_told_without_its_neighbours, NamesThemAll),
    (checks.check_who_is_no_member_at_the_moment_commits_nothing, OfNobody),
]


@pytest.mark.parametrize(("check", "twin"), TWINS, ids=lambda each: each.__name__)
async def test_a_wrong_sink_is_caught(check: Check, twin: type[Twin | Shop], kafka_topics: KafkaTopics) -> None:
    shop = twin.of(kafka_topics) if issubclass(twin, Shop) else Wrong.of(kafka_topics)
    if isinstance(shop, Wrong):
        shop.twin = twin  # type: ignore[assignment]  # it is no shop

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await check(shop)


def test_no_check_is_without_a_twin() -> None:
    written = {each for name, each in vars(checks).items() if name.startswith("check_")}
    assert {check for check, _ in TWINS} == set(checks.CHECKS) == written

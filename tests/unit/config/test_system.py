"""Where each store lives."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mstream.config.system import RESOURCES, Place, StartupState, System


def system(**tables: object) -> System:
    return System.model_validate(tables)


def test_without_tables_nothing_has_a_place() -> None:
    assert [store for store in (*RESOURCES, "system") if system().place(store)] == []


@pytest.mark.parametrize("store", RESOURCES)
def test_a_state_file_hosts_every_store(store: str) -> None:
    place = system(state="./x.db").place(store)

    assert place == Place(service_name="_state", resource=RESOURCES[store])


def test_explicit_places_win_over_the_state_file() -> None:
    some = system(state="./x.db", checkpoints={"service_name": "db"}, audit={"resource": "trail"})

    assert some.place("checkpoints") == Place(service_name="db", resource="mstream-checkpoints")
    assert some.place("audit") == Place(service_name="_state", resource="trail")


def test_stores_without_a_table_stand_beside_the_jobs() -> None:
    some = system(
        job_lifecycle={"service_name": "db", "resource": "jobs"}, checkpoints={"service_name": "other", "resource": "c"}
    )

    assert some.place("runs") == Place(service_name="db", resource="jobs-runs")
    assert some.place("audit") == Place(service_name="db", resource="jobs-audit")
    assert some.place("dead_letters") == Place(service_name="db", resource="jobs-dead-letters")
    assert some.place("system") == Place(service_name="db", resource="jobs-system")


def test_without_a_store_for_jobs_they_stand_beside_the_checkpoints() -> None:
    some = system(checkpoints={"service_name": "db", "resource": "positions"})

    assert some.place("dead_letters") == Place(service_name="db", resource="positions-dead-letters")
    assert some.place("job_lifecycle") is None


def test_a_table_moves_them() -> None:
    some = system(state="./x.db", dead_letters={"service_name": "db", "resource": "lost", "max_documents": 7})

    assert some.place("dead_letters") == Place(service_name="db", resource="lost")
    assert some.max_dead_letters == 7
    assert system().max_dead_letters == 100_000


def test_the_file_decides_where_no_store_keeps_jobs() -> None:
    assert system().startup_state is StartupState.FORCE_FROM_FILE
    assert system(state="./x.db").startup_state is StartupState.SEED_FROM_FILE
    assert system(state="./x.db", job_lifecycle={"startup_state": "keep"}).startup_state is StartupState.KEEP


def test_histories_are_bounded_as_promised_unless_the_file_says_otherwise() -> None:
    some = system(state="./x.db", runs={"keep": 3}, audit={"keep": 7})

    assert (system().kept_runs, system().kept_changes) == (50, 200)
    assert (some.kept_runs, some.kept_changes) == (3, 7)
    assert some.place("runs") == Place(service_name="_state", resource="mstream-runs")


def test_with_a_store_for_services_alone_they_stand_beside_those() -> None:
    some = system(service_lifecycle={"service_name": "db", "resource": "services"})

    assert some.place("system") == Place(service_name="db", resource="services-system")
    assert some.place("audit") == Place(service_name="db", resource="services-audit")
    assert some.place("job_lifecycle") is None


def test_a_command_for_the_key_is_a_list_of_texts_and_not_empty() -> None:
    assert system(encryption_key_command=["vault", "read"]).encryption_key_command == ("vault", "read")
    with pytest.raises(ValidationError):
        system(encryption_key_command=[])

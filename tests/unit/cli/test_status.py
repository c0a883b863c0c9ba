"""What a line of the terminal says of a job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mstream.cli.status import cells
from mstream.control.jobs import JobView
from mstream.control.member import MemberView
from mstream.domain.job import Intent, Job, Phase
from mstream.domain.run import RunStatus
from tests.unit.control.scripted import connector


@pytest.mark.parametrize(
    ("phases", "shown"), [([Phase.RUNNING, Phase.RETRYING], ["1/2 members"]), ([Phase.RUNNING], [])]
)
def test_members_are_shown_where_there_are_several(phases: list[Phase], shown: list[str]) -> None:
    one = MemberView(
        member=0, run_id="r", phase=Phase.RUNNING, restarts=0, reason=None, message=None, status=RunStatus()
    )
    job = Job(spec=connector(), intent=Intent.RUNNING, phase=Phase.RUNNING)
    view = JobView(job=job, status=RunStatus(), is_over=False, members=[replace(one, phase=each) for each in phases])

    assert [each for each in cells(view, 0.0) if "members" in each] == shown

"""Bring a file's definitions over while the program does not run."""

from __future__ import annotations

from mstream.bootstrap.estate import Estate
from mstream.bootstrap.stores import Opened
from mstream.bootstrap.survey import Lookout
from mstream.control.lease import Ownership
from mstream.control.operations import require_same
from mstream.control.planning import plan_of_apply
from mstream.control.provisioning import Provisioner
from mstream.domain.audit import Actor
from mstream.domain.plan import Action, Plan
from mstream.stores.markers import MarkerStore


async def apply(
    estate: Estate, found: Opened, lease: Ownership, *, by: Actor, prune: bool = False, expect: str | None = None
) -> Plan:
    """What was done; jobs run from the next start on.

    `expect`: the hash of the plan that was shown. Raises PlanStale, StoreError, RevisionConflict.
    """
    # As it was shown: before there is a key, which what is shown of services depends on.
    shown = await Lookout(estate.file, estate.catalog, estate.environ).applied(prune=prune)
    require_same(shown, expect)
    services = estate.registry()
    startup = await estate.startup(found, lease, services)
    survey = await startup.survey(estate.file)
    plan = plan_of_apply(survey.situation, prune=prune)
    archive = startup.archive
    provisioner = Provisioner(
        jobs=archive.jobs,
        checkpoints=archive.checkpoints,
        markers=MarkerStore(archive.system) if archive.system is not None else None,
        chronicle=archive.chronicle,
        authority=lease,
        clock=estate.clock,
        actor=by,
    )
    await services.carry_out([each for each in plan.services if each.action is not Action.REMOVE], by=by)
    await provisioner.carry_out(plan, survey.jobs, survey.marker_revision)
    # Only when no job names them any more.
    await services.carry_out([each for each in plan.services if each.action is Action.REMOVE], by=by)
    return plan

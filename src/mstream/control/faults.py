"""Why a definition could not run, as far as it can be told without opening anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mstream.config.system import STATE_SERVICE
from mstream.domain.connector import ConnectorSpec
from mstream.domain.plan import Situation


class Surroundings:
    """The services that there will be: the file's, and what the store adds. The one of `state` is for no job."""

    def __init__(self, situation: Situation) -> None:
        self._known: Collection[str] = {*situation.services, *situation.stored_services} - {STATE_SERVICE}
        self._damaged: Mapping[str, str] = {each.name: each.reason for each in situation.damaged_services}
        self._faulty = situation.faulty_jobs

    def fault_of_stored(self, spec: ConnectorSpec) -> str | None:
        """Why a stored definition could not run; None: it can be tried."""
        return self._faulty.get(spec.name) or self.fault_of(spec)

    def fault_of(self, spec: ConnectorSpec) -> str | None:
        """What is wrong with what it names; None: nothing."""
        for name in spec.service_names:
            if name in self._known:
                continue
            if name in self._damaged:
                return f"service {name!r} is stored and cannot be used: {self._damaged[name]}"
            return f"there is no service {name!r}, in the file or stored; add it, or change the job"
        aliases = {each.id for each in spec.schemas}
        for each in sorted(spec.schema_ids - aliases):
            return f"there is no schema {each!r} in its definition; add it, or change the job"
        return None

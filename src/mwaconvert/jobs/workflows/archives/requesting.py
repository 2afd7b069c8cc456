"""The request of a run, and for images the calibration that it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mwaconvert.archive.catalog import Catalog
from mwaconvert.archive.identifiers import SdmName, StatusUid, Uid, parse_execution
from mwaconvert.archive.layouts import Layout
from mwaconvert.archive.manifests import read_manifest
from mwaconvert.archive.products import Kind, sha256_of
from mwaconvert.archive.requests import (
    Procedure,
    Request,
    make_alma_request,
    make_vla_request,
    read_procedure,
    restore_first,
    write_request,
)
from mwaconvert.archive.reruns import RunInput
from mwaconvert.errors import InputError
from mwaconvert.jobs.control.work import Context
from mwaconvert.jobs.workflows.archives.asking import Asked, Purpose
from mwaconvert.jobs.workflows.archives.packed import find_calibration
from mwaconvert.jobs.workflows.archives.site import ArchiveSite
from mwaconvert.jobs.workflows.archives.staging import file_into, own_text

#: name of a request that is made here
_NAME = "PPR.xml"
#: what a restore within a pipeline looks for in rawdata
_OF_CALIBRATION = (
    Kind.CALTABLES,
    Kind.AUXCALTABLES,
    Kind.FLAGVERSIONS,
    Kind.CALAPPLY,
    Kind.MANIFEST,
    Kind.AUXPRODUCTS,
    Kind.FLAG_TEMPLATE,
)


def write(context: Context, site: ArchiveSite, catalog: Catalog, asked: Asked, layout: Layout) -> RunInput:
    """Write the request of a run; made again it has the same bytes."""
    created = datetime.fromtimestamp(context.job.created, UTC)
    target = layout.working / _NAME
    own_text(target, write_request(_request(site, catalog, asked, layout, created)))
    return RunInput(Kind.REQUEST, target, sha256_of(target), False)


def _request(site: ArchiveSite, catalog: Catalog, asked: Asked, layout: Layout, created: datetime) -> Request:
    procedure = read_procedure(site.procedure(f"{asked.telescope.name.lower()}-{asked.purpose.value}"))
    if asked.purpose is Purpose.IMAGE:
        procedure = restore_first(procedure, asked.telescope)
    return request_of(catalog, parse_execution(asked.target), procedure, layout.relative_path, created)


def request_of(
    catalog: Catalog,
    target: Uid | SdmName,
    procedure: Procedure,
    relative_path: str,
    created: datetime,
    intents: Sequence[tuple[str, str]] = (),
) -> Request:
    """A sound request for an SDM of the VLA, or a member set as the catalogue knows it.

    Raises
    ------
    InputError, MetadataError, FormatError
        A set without project, part id or scheduling block; as `requests.make_alma_request`.
    """
    if isinstance(target, SdmName):
        return make_vla_request(
            sdm=target, procedure=procedure, relative_path=relative_path, created=created, intents=intents
        )
    mous = StatusUid(target)
    member = catalog.member(mous)
    if member.unit.unit is None or member.unit.project_status is None:
        raise InputError(f"{mous}: neither project nor part id is known; a request names them")
    return make_alma_request(
        proposal_code=catalog.project_of(mous),
        unit=member.unit.unit,
        project_status=member.unit.project_status,
        mous=mous,
        blocks=member.sched_blocks,
        sessions=member.unit.sessions,
        procedure=procedure,
        relative_path=relative_path,
        created=created,
        intents=intents,
    )


def fetch_calibration(
    scratch: Path, site: ArchiveSite, catalog: Catalog, asked: Asked, layout: Layout
) -> str:
    """Bring the calibration of a member set to the raw data; gives the CASA that made it.

    Raises
    ------
    InputError
        It is not official, complete and stored apart, or was made by hand; several manifests.
    """
    member = catalog.member(StatusUid(Uid.parse(asked.target)))
    found = find_calibration(scratch, site, catalog, member)
    if found.state.missing:
        raise InputError(f"{asked.target} cannot be imaged: {'; '.join(found.state.missing)}")
    table, version = site.table(), ""
    for file in found.files:
        kind = table.kind(file.name)
        if kind in _OF_CALIBRATION:
            file_into(found.stores, file, layout.calibration / file.name)
            if kind is Kind.MANIFEST:
                version = read_manifest(layout.calibration / file.name).casa_version
    return version

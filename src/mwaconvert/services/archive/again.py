"""A run again from a form: the files that an analyst sends, checked as those that a command names."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mwaconvert.archive.identifiers import safe_name
from mwaconvert.archive.reruns import Edits
from mwaconvert.errors import Error, FormatError, InputError
from mwaconvert.jobs.control.work import Job, UnknownError
from mwaconvert.jobs.workflows.archives.asking import ask_rerun
from mwaconvert.services.archive.desk import Desk
from mwaconvert.services.page.guard import Posted

#: fields of the form that take one file, with the name that it gets: pipelines look for these
_SINGLE = {"ppr": "PPR.xml", "flux": "flux.csv", "cont": "cont.dat"}
_TEMPLATES = "flag_template"


def ask_again(desk: Desk, form: Posted, run_id: str, reason: str) -> Job:
    """Ask for a run again with the edits of a form; what is not sent is that of the run before.

    Raises
    ------
    InputError, FormatError
        As `asking.ask_rerun`; two files where one is meant.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            edits = _edits(form, Path(folder))
            return ask_rerun(
                desk.site,
                desk.store,
                desk.catalog,
                run_id,
                edits,
                form.session.name,
                in_place=bool(form.text("in_place")),
                reason=reason,
            )
        except UnknownError:
            raise
        except Error as error:  # where the files lie for the moment tells nobody anything
            kind = FormatError if isinstance(error, FormatError) else InputError
            raise kind(str(error).replace(f"{folder}/", "")) from None


def _edits(form: Posted, folder: Path) -> Edits:
    single: dict[str, Path] = {}
    for field, name in _SINGLE.items():
        sent = form.uploaded(field)
        if len(sent) > 1:
            raise InputError(f"{len(sent)} files were sent as {name}; a run takes one")
        for upload in sent:
            single[field] = folder / name
            single[field].write_bytes(upload.data)
    templates = []
    for upload in form.uploaded(_TEMPLATES):
        path = folder / safe_name(upload.name)
        if path.exists():
            raise InputError(f"two of the files have the name {path.name}")
        path.write_bytes(upload.data)
        templates.append(path)
    return Edits(single.get("ppr"), tuple(templates), single.get("flux"), single.get("cont"))

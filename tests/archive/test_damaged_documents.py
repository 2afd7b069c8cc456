"""Damaged documents: one sentence, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import package_samples
import pytest
import request_samples as samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mwaconvert.archive.casa import read_version_table
from mwaconvert.archive.casa.tasks import read_calapply
from mwaconvert.archive.manifests import read_aqua_report, read_manifest
from mwaconvert.archive.packages import PackageFault, check_package
from mwaconvert.archive.products import SUMS, read_product_table, read_sums
from mwaconvert.archive.quality.notes import read_notes, safe_html
from mwaconvert.archive.quality.retention import read_retention
from mwaconvert.archive.requests import changes, problems, read_request, write_request
from mwaconvert.archive.reruns import check_continuum, check_flag_template, check_fluxes
from mwaconvert.archive.sources.obscore import read_obscore
from mwaconvert.archive.status import StatusDocument, read_status, write_status
from mwaconvert.archive.units import Session, UnitSet
from mwaconvert.errors import Error, FormatError


def refusal(read: Callable[[Any], object], source: object) -> str:
    """What a reader says of something it refuses; empty if it reads it. Other errors are failures."""
    try:
        read(source)
    except Error as error:
        return str(error).strip()
    return ""


def request(data: bytes) -> None:
    found = read_request(data).request
    problems(found)
    changes(found, samples.alma(samples.EBS))


DOCUMENTS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "request": (write_request(samples.alma(samples.EBS)), request),
    "VLA request": (write_request(samples.vla()), request),
    "status": (
        write_status(StatusDocument(UnitSet(samples.MOUS, "X", sessions=(Session(1, samples.EBS),)))),
        read_status,
    ),
    "manifest": (package_samples.manifest({"session_1": [package_samples.ONE]}).encode(), read_manifest),
    "report": (
        b"<PipelineAquaReport><QaPerStage><Stage Number='1' Name='a'><RepresentativeScore Score='1'/></Stage>"
        b"</QaPerStage></PipelineAquaReport>",
        read_aqua_report,
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_document_is_read_or_refused(name: str, data: st.DataObject) -> None:
    whole, read = DOCUMENTS[name]
    start = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 40))
    damaged = whole[:start] + data.draw(st.binary(max_size=12)) + whole[start + cut :]
    assert "\n" not in refusal(read, damaged)


TEXTS: dict[str, Callable[[Path], object]] = {
    "versions": read_version_table,
    "kinds": read_product_table,
    "sums": read_sums,
    "retention": read_retention,
    "flags": check_flag_template,
    "fluxes": check_fluxes,
    "continuum": check_continuum,
    "instructions": read_calapply,
    "obscore": read_obscore,
}


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_any_bytes_in_a_text_file_are_read_or_refused(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(data)
    said = refusal(TEXTS[name], path)
    assert not said or str(path) in said


def test_text_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.flagtemplate.txt"
    path.write_bytes("antenna='ea01' reason='gr\u00fcn'".encode("latin-1"))
    with pytest.raises(FormatError, match=r"is not text in UTF-8: byte 25 is 0xfc"):
        check_flag_template(path)


@given(st.text(max_size=200))
def test_any_notes_are_read_or_refused_and_can_be_shown(text: str) -> None:
    assert "<script" not in safe_html(text).lower()
    assert "Traceback" not in refusal(read_notes, text)


def test_a_package_with_unsound_documents_is_reported_whole(tmp_path: Path) -> None:
    layout = package_samples.package(tmp_path)
    (layout.root / SUMS).write_bytes(b"\xff\xfe")
    next((layout.root / "qa").glob("*manifest.xml")).write_text("<x/>")
    kinds = {fault.kind for fault in check_package(layout.root).faults}
    assert {PackageFault.SUMS, PackageFault.MANIFEST} <= kinds

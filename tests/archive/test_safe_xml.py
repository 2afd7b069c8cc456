"""Documents of others that try to harm: entity bombs, outside files, foreign namespaces, wrong roots."""

from __future__ import annotations

from pathlib import Path

import pytest
import request_samples as samples

from mwaconvert.archive.requests import read_request, write_request
from mwaconvert.errors import FormatError

SOUND = write_request(samples.alma(samples.EBS))
_HEAD, _, _BODY = SOUND.partition(b"\n")


def bomb(levels: int) -> bytes:
    entities = b'<!ENTITY a0 "ha">' + b"".join(
        b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, levels)
    )
    return (
        _HEAD
        + b"<!DOCTYPE SciPipeRequest ["
        + entities
        + b"]>"
        + _BODY.replace(b"Anonymous", b"&a%d;" % (levels - 1))
    )


@pytest.mark.parametrize("levels", [2, 10, 60])
def test_entity_bombs_are_refused(levels: int) -> None:
    with pytest.raises(FormatError, match=r"document type|is no XML document"):
        read_request(bomb(levels))


def test_outside_files_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("do not show")
    data = (
        _HEAD
        + b'<!DOCTYPE SciPipeRequest [<!ENTITY x SYSTEM "'
        + secret.as_uri().encode()
        + b'">]>'
        + _BODY.replace(b"Anonymous", b"&x;")
    )
    with pytest.raises(FormatError) as refused:
        read_request(data)
    assert "do not show" not in str(refused.value)


def test_a_document_type_in_another_encoding_is_refused() -> None:
    text = bomb(3).decode().replace('encoding="UTF-8"', 'encoding="UTF-16"')
    with pytest.raises(FormatError, match="document type"):
        read_request(text.encode("utf-16"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'xmlns="Alma/pipelinescience/SciPipeRequest"', b'xmlns="Alma/pipelinescience/SciPipeResults"'),
        (b'xmlns="Alma/pipelinescience/SciPipeRequest"', b'xmlns="http://example.org/other"'),
        (b'xmlns="Alma/pipelinescience/SciPipeRequest"', b""),
    ],
)
def test_a_wrong_root_namespace_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(FormatError, match=r"the root element is .*SciPipeRequest; expected"):
        read_request(SOUND.replace(old, new))


def test_an_element_of_a_foreign_namespace_is_refused() -> None:
    data = SOUND.replace(b'<AsdmDiskName xmlns="">', b'<AsdmDiskName xmlns="http://example.org/x">', 1)
    with pytest.raises(FormatError, match=r"line \d+: <.*AsdmDiskName> is of a foreign namespace"):
        read_request(data)


@pytest.mark.parametrize("data", [b"", b"PPR", b"<a>", b"\x00" * 100, SOUND[:-30]])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="is no XML document"):
        read_request(data, "PPR.xml")


@pytest.mark.parametrize("element", ["ProjectSummary", "ProcessingRequest", "DataSet"])
def test_a_document_without_its_parts_is_refused(element: str) -> None:
    data = SOUND.replace(f"<{element}>".encode(), b"<Other>").replace(f"</{element}>".encode(), b"</Other>")
    with pytest.raises(FormatError, match=f"has no <{element}>"):
        read_request(data)


def test_depth_is_limited() -> None:
    deep = SOUND.replace(b"<ProjectSummary>", b"<x>" * 5000 + b"</x>" * 5000 + b"<ProjectSummary>")
    with pytest.raises(FormatError, match="is no XML document"):
        read_request(deep)

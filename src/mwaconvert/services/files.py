"""Downloads: one file for whoever has its signed link, as a whole or a range of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse, Response

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.work import UnknownError
from mwaconvert.jobs.delivery.places import Folder
from mwaconvert.services.service import Service, service_of
from mwaconvert.services.signing import Verdict

router = APIRouter(tags=["downloads"])
_RANGE = re.compile(r"\s*(?:range:\s*)?bytes\s*=\s*(\d{1,19})\s*-\s*(\d{1,19})?\s*", re.IGNORECASE)


class _File(FileResponse):
    chunk_size = 1 << 20


@router.head("/files/{product_id}/{name}", include_in_schema=False)
@router.get("/files/{product_id}/{name}", response_class=FileResponse)
def get_file(
    request: Request,
    service: Annotated[Service, Depends(service_of)],
    product_id: Annotated[int, InPath(ge=1, lt=2**31)],
    name: str,
    expires: Annotated[str, Query(pattern=r"^[0-9]{1,12}$")] = "0",
    signature: Annotated[str, Query(max_length=128)] = "",
) -> Response:
    """A product, by its signed link. 403: the link is not ours; 404: it is over, or the file is gone."""
    verdict = service.links.check(product_id, name, expires, signature)
    if verdict is Verdict.WRONG:
        return PlainTextResponse("the link is not valid", 403)
    path = None if verdict is Verdict.OVER else _path(service, product_id, name)
    if path is None:
        return PlainTextResponse("the file has expired or was removed", 404)
    use_range(request, path.stat().st_size)
    return _File(path, filename=name, media_type="application/octet-stream")


def _path(service: Service, product_id: int, name: str) -> Path | None:
    """Where a product is; None if it is gone."""
    try:
        product = service.store.product(product_id)
        packages = service.site.packages
        if (
            product.removed is not None
            or product.details.get("name") != name
            or not isinstance(packages, Folder)
        ):
            return None
        path = packages.path(name)
    except (UnknownError, InputError):
        return None
    return path if str(path) == product.path and path.is_file() else None


def use_range(request: Request, size: int) -> None:
    """Put right what giant-squid asks for, `Range: Range: bytes=a-N` with N one past the last byte.

    A range that is none is left out, so that the whole file goes out; one behind the end stays, and gets 416.
    """
    given = request.headers.get("range")
    if given is None:
        return
    headers = [(key, value) for key, value in request.scope["headers"] if key != b"range"]
    found = _RANGE.fullmatch(given)
    if found is not None:
        first = int(found[1])
        last = min(int(found[2]) if found[2] else size - 1, size - 1)
        if first >= size:
            headers.append((b"range", b"bytes=%d-" % first))
        elif first <= last:
            headers.append((b"range", b"bytes=%d-%d" % (first, last)))
    request.scope["headers"] = headers

"""XML of other programs, read safely: no entities, no document types, no network, known namespaces only.

Readers of these documents find elements by their local names, whatever the namespace. So do we; an element of a
foreign namespace that could be mistaken for one of ours is refused.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

from mwaconvert.errors import FormatError
from mwaconvert.extras import need

#: lxml's element; the package is optional, so its type is not named
Element: TypeAlias = Any

_LARGEST = 64 << 20  # bytes; image lists of large manifests reach a few MB


def read_xml(data: bytes, name: str, root: str, namespace: str | None) -> Element:
    """Parse a document and check what it is.

    Parameters
    ----------
    data : the document, whole
    name : of the file, for messages
    root : local name of the root element
    namespace : of the root element; None for documents without namespaces

    Raises
    ------
    FormatError
        No XML, a document type (entities come with one), another root, foreign namespaces, over 64 MiB.
    """
    etree = need("lxml.etree", "archive", f"{name}: reading XML")
    if len(data) > _LARGEST:
        raise FormatError(
            f"{name}: {len(data)} bytes are too many for such a document; at most {_LARGEST} are read"
        )
    try:
        top = etree.fromstring(data, _parser())
    except etree.XMLSyntaxError as error:
        raise FormatError(f"{name}: is no XML document: {error.msg}") from None
    if top.getroottree().docinfo.internalDTD is not None:
        raise FormatError(
            f"{name}: has a document type, which can hold entity bombs; remove the DOCTYPE line"
        )
    expected = root if namespace is None else f"{{{namespace}}}{root}"
    if top.tag != expected:
        raise FormatError(f"{name}: the root element is {top.tag}; expected {expected}")
    for element in top.iter(etree.Element):
        tag = element.tag
        if tag.startswith("{") and (namespace is None or not tag.startswith("{Alma/")):
            raise FormatError(f"{name}: line {element.sourceline}: <{tag}> is of a foreign namespace")
    return top


@cache
def _parser() -> Any:
    """One for all documents: to make one takes as long as to read a document."""
    return need("lxml.etree", "archive", "reading XML").XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, collect_ids=False
    )


def local(element: Element) -> str:
    """The name of an element without its namespace; empty for comments."""
    tag = element.tag
    return str(tag).rpartition("}")[2] if isinstance(tag, str) else ""


def children(element: Element, path: str) -> list[Element]:
    """All elements at a path of local names, as ``DataSet/SchedBlockSet``, in the order of the document."""
    found = [element]
    for step in path.split("/"):
        found = [child for parent in found for child in parent.iterchildren(f"{{*}}{step}")]
    return found


def child(element: Element, path: str) -> Element | None:
    """The first element at a path of local names, or None."""
    if "/" in path:
        return next(iter(children(element, path)), None)
    return next(element.iterchildren(f"{{*}}{path}"), None)


def text(element: Element | None, path: str, default: str = "") -> str:
    """The text of the first element at a path, without blanks around it; `default` if there is none."""
    found = None if element is None else child(element, path)
    if found is None:
        return default
    return "".join(found.itertext() if len(found) else (found.text or "",)).strip()


def attribute(element: Element | None, path: str, name: str, default: str = "") -> str:
    """An attribute of the first element at a path; `default` if there is none."""
    found = None if element is None else child(element, path)
    return default if found is None else str(found.get(name, default))


def escape(value: str) -> str:
    """`value` as text or attribute of an XML document.

    Raises
    ------
    FormatError
        A control character, which no XML document can hold.
    """
    bad = next((c for c in value if (ord(c) < 32 and c not in "\t\n\r") or c in "\ufffe\uffff"), None)
    if bad is not None:
        raise FormatError(f"{value!r}: the character {bad!r} cannot stand in an XML document")
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\r", "&#13;")):
        value = value.replace(plain, entity)
    return value

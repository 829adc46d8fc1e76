"""HTML that cannot be broken by data: text is escaped wherever it enters."""

import html
import json
from collections.abc import Iterable
from typing import Any, Final

VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Html(str):
    """Markup; every other string is text, and ``tag`` escapes it."""

    __slots__ = ()


Child = Html | str | int | float | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: Any) -> Html:
    """An element; ``class_`` is ``class``, ``aria_label`` is ``aria-label``; True is a bare attribute.

    Attributes that are None or False are left out.

    >>> tag("b", "<script>", class_="x", hidden=True)
    '<b class="x" hidden>&lt;script&gt;</b>'
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Child) -> Html:
    """Children one after another: markup as it is, text escaped, None left out.

    >>> join(["a < b", None, [Html("<br>"), 3]])
    'a &lt; b<br>3'
    """
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str | int | float):
        return Html(html.escape(str(children), quote=False))
    return Html("".join(join(child) for child in children))


def json_script(identifier: str, value: Any) -> Html:
    """A value as JSON that JavaScript on the page can read by the element's id; no text in it can end it.

    >>> json_script("d", "</script>")
    '<script type="application/json" id="d">"\\\\u003c/script\\\\u003e"</script>'
    """
    return tag("script", Html(safe_json(value)), type="application/json", id=identifier)


def safe_json(value: Any) -> str:
    """Compact JSON that holds no ``<``, ``>``, ``&`` or line separator, so that it may lie in a script."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value), quote=True)}"'

"""Tables of the real studies inside a page, between markers, so that no figure there is written by hand."""

import re
from collections.abc import Mapping
from typing import Any

from benchmarks.suite.tables import markdown

Rows = list[dict[str, Any]]
BLOCK = re.compile(r"<!-- table: (?P<title>[^>]+?) -->\n.*?<!-- end of table -->", re.DOTALL)


def titles(page: str) -> list[str]:
    """Return the titles of the tables that a page holds."""
    return [block["title"] for block in BLOCK.finditer(page)]


def filled(page: str, tables: Mapping[str, Rows]) -> str:
    """Return the page with the table of its title between each pair of markers.

    Raises:
        KeyError: A title that there is no table of.
    """

    def block(found: re.Match[str]) -> str:
        rows = tables[found["title"]]
        return f"<!-- table: {found['title']} -->\n\n{markdown(rows)}\n\n<!-- end of table -->"

    return BLOCK.sub(block, page)

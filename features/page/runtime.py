"""The JavaScript of Vega and Vega-Lite as one text, from the wheel of vl-convert-python."""

from functools import cache

import vl_convert

SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""Vega-Lite alone, without its embedding, comes out of this bundler empty (vl-convert 1.9)."""


@cache
def vega_runtime() -> str:
    """What a page needs to draw its figures: 900 kB, 2 s of CPU once a process, nothing from a network."""
    text = vl_convert.javascript_bundle(SNIPPET)
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")

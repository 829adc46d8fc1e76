"""The page kit: contrast of the palette, escaping, axis titles, one file without requests."""

import itertools
import re

import pytest

from features.page.charts import axis, chart, check_axes, layer
from features.page.colours import DARK, LIGHT, SERIES, colour, contrast
from features.page.figure import figure
from features.page.html import json_script, tag
from features.page.runtime import vega_runtime
from features.page.shell import Section, page

EVIL = "</script><script>alert(1)</script>"


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_text_and_marks_stand_out_from_the_page(palette: dict[str, str]) -> None:
    """WCAG 2.2 AA: text 4.5 to 1, marks and lines 3 to 1."""
    for ground in ("page", "card"):
        for name in ("ink", "soft", "good", "bad"):
            assert contrast(palette[name], palette[ground]) >= 4.5, (name, ground)
        for name in (*SERIES, "axis", "mute"):
            assert contrast(palette[name], palette[ground]) >= 3, (name, ground)
    for wash in ("good-wash", "bad-wash", "warn-wash"):
        assert contrast(palette["ink"], palette[wash]) >= 4.5


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_the_first_hues_differ_for_colour_blind_eyes(palette: dict[str, str]) -> None:
    """Without red-green sight (Viénot 1999, protanopia) the first three hues are still 20 apart in RGB."""
    for one, other in itertools.combinations(SERIES[:3], 2):
        assert (
            sum((a - b) ** 2 for a, b in zip(_protan(palette[one]), _protan(palette[other]), strict=True))
            ** 0.5
            > 20
        )


def _protan(text: str) -> tuple[float, float, float]:
    red, green, blue = (int(text[at : at + 2], 16) for at in (1, 3, 5))
    mixed = 0.112 * red + 0.888 * green
    return mixed, mixed, blue - 0.004 * red + 0.004 * green


def test_both_themes_have_the_same_names() -> None:
    assert LIGHT.keys() == DARK.keys()
    with pytest.raises(KeyError, match="no colour of the palette"):
        colour("c9")


def test_text_is_escaped_wherever_it_enters() -> None:
    assert "<script>" not in tag("td", EVIL, title=EVIL)
    assert json_script("d", EVIL).count("</script>") == 1
    body = figure("f", EVIL, EVIL, None)
    text = page(EVIL, EVIL, [Section("s", EVIL, EVIL, [body])], runtime="")
    assert "alert(1)</script>" not in text


def test_a_picture_without_an_axis_title_is_refused() -> None:
    bare = {"field": "n", "type": "quantitative"}
    with pytest.raises(ValueError, match="no title on its y axis"):
        check_axes(chart([], layer("bar", encoding={"x": axis("day", "Day (UTC)"), "y": bare})))


def test_the_runtime_can_lie_in_a_script_and_names_no_host_to_load_from() -> None:
    runtime = vega_runtime()
    assert "</script" not in runtime
    assert "window.vegaEmbed" in runtime
    hosts = set(re.findall(r"https?://([a-z0-9.]+)", runtime))
    assert hosts <= {"www.w3.org", "github.com", "vega.github.io"}  # names of schemas, and a link we turn off

"""Pages for people: one self-contained HTML file from plain values, themed light and dark.

Pure: values in, text out; no files, no clock, no Spark. The build report and the model report share it, so
that they look and behave alike. The parts: ``html`` (escaping), ``amounts`` (numbers as people read them),
``colours`` and ``style``, ``charts`` (Vega-Lite specifications), ``figure``, ``table``, ``shell`` (the page),
``runtime`` and ``script`` (what runs in the browser).

Why Vega-Lite, drawn as SVG by Vega and written by hand as plain mappings (measured here, in one file):

=====================  ==============  =================================================================
library                JavaScript, KB  what decided
=====================  ==============  =================================================================
Vega 6 + Vega-Lite 6   898             SVG: text is text, marks carry ARIA labels, colours may be CSS
                                       variables, so that light and dark need no second drawing
bokeh 3.9              1,268           one canvas: nothing for a screen reader, no keyboard, fixed colours
plotly 7.1             4,816           alone as large as a report may be (5 MB)
pyecharts 2.1          0               its wheel has no JavaScript: pages load it from a CDN
matplotlib 3.11        0               no hover
=====================  ==============  =================================================================

The JavaScript comes out of vl-convert-python, the Vega project's own wheel, in 2 s of CPU. altair, which
writes the same specifications, holds ours against Vega-Lite's schema in tests: importing it takes 2 s of CPU,
every chart 15 ms more, and a build should not pay for that.
"""

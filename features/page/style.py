"""The page's style: one column, a quiet grid, type that is easy to read, light and dark."""

from collections.abc import Mapping

from features.page.charts import FONT
from features.page.colours import DARK, LIGHT


def style() -> str:
    """The style sheet as text."""
    light, dark = _variables(LIGHT), _variables(DARK)
    return (
        f":root{{color-scheme:light;{light}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}" + RULES.replace("FONT", FONT)
    )


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


RULES = """
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:3.5rem;-webkit-text-size-adjust:100%}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 FONT;font-variant-numeric:tabular-nums}
header,main,footer,nav{max-width:1120px;margin:0 auto;padding:0 24px}
header{display:flex;justify-content:space-between;align-items:flex-start;gap:16px;padding-top:32px}
h1{font-size:1.75rem;line-height:1.2;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.3rem;line-height:1.25;margin:0;letter-spacing:-.005em}
h3{font-size:1rem;line-height:1.35;margin:0;font-weight:600}
p{margin:.25rem 0}
a{color:var(--c1)}
code{font-size:.9em;overflow-wrap:anywhere}
.subtitle,.lead,.note,dt,caption,summary{color:var(--soft)}
.subtitle{overflow-wrap:anywhere}
.lead{max-width:70ch;margin-bottom:20px}
.note{font-size:.875rem}
nav{position:sticky;top:0;z-index:2;background:var(--page);border-bottom:1px solid var(--line);
margin-top:16px}
nav ul{display:flex;gap:4px 18px;list-style:none;margin:0;padding:10px 0;overflow-x:auto;scrollbar-width:thin}
nav a{white-space:nowrap;font-size:.875rem;color:var(--soft);text-decoration:none}
nav a:hover,nav a.here{color:var(--ink);text-decoration:underline;text-underline-offset:5px;
text-decoration-thickness:2px;text-decoration-color:var(--c1)}
section{padding:44px 0 0}
main>section:first-of-type{padding-top:28px}
footer{padding-top:48px;padding-bottom:48px;color:var(--soft);font-size:.875rem}
.skip{position:absolute;left:-999px}.skip:focus{left:8px;top:8px;background:var(--card);padding:8px;z-index:3}
.grid{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:36px 40px}
.grid>.wide{grid-column:1/-1}
figure{margin:0;min-width:0}
.finding{margin:.15rem 0 .6rem;max-width:75ch}
.chart{width:100%;min-height:60px;border-radius:4px}
.chart svg{display:block;max-width:100%;overflow:visible}
:focus-visible{outline:2px solid var(--c1);outline-offset:2px}
main:focus{outline:none}
svg .at{stroke:var(--ink)!important;stroke-width:2px!important}
.numbers{margin-top:6px;font-size:.875rem}
summary{cursor:pointer;width:fit-content;font-size:.875rem}
.grid+h3,.scroll+h3,details+h3,.grid+details,.scroll+.grid,.tiles+h3{margin-top:28px}
.scroll{overflow-x:auto;max-width:100%}
.numbers .scroll{max-height:320px;overflow:auto}
table{border-collapse:collapse;width:max-content;font-size:.875rem;line-height:1.4;min-width:min(100%,280px)}
caption{text-align:left;position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
th,td{text-align:left;vertical-align:top;padding:6px 16px 6px 0;border-bottom:1px solid var(--line);
overflow-wrap:break-word;min-width:3.5rem;max-width:26rem}
thead th{color:var(--soft);font-weight:500;white-space:nowrap}
tbody th{font-weight:500;min-width:8rem}
.num{text-align:right;white-space:nowrap}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(124px,1fr));gap:20px 26px;margin:0 0 28px}
.tiles div{border-top:2px solid var(--ink);padding-top:8px}
.tiles dt{font-size:.875rem}
.tiles dd{margin:0;font-size:1.6rem;line-height:1.2;letter-spacing:-.01em}
.tiles dd.note{font-size:.8125rem;line-height:1.35;letter-spacing:0;margin-top:4px}
.facts{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:4px 20px;margin:0 0 16px;
font-size:.875rem}
.facts dd{margin:0;overflow-wrap:anywhere}
.banner{border-left:4px solid var(--soft);padding:12px 16px;margin:24px 0 0;overflow-wrap:anywhere}
.banner.good{border-color:var(--good);background:var(--good-wash)}
.banner.bad{border-color:var(--bad);background:var(--bad-wash)}
.banner.warn{border-color:var(--c5);background:var(--warn-wash)}
.passed{color:var(--good);font-weight:600}.failed{color:var(--bad);font-weight:600}
button,select,input{font:inherit;font-size:.875rem;color:var(--ink);background:var(--card);
border:1px solid var(--axis);border-radius:6px;padding:6px 12px}
button{cursor:pointer;white-space:nowrap}
#tip{position:fixed;z-index:4;max-width:min(340px,calc(100vw - 24px));background:var(--ink);color:var(--page);
font-size:.8125rem;line-height:1.4;padding:8px 12px;border-radius:6px;pointer-events:none;left:0;top:0}
#tip div{display:flex;gap:14px;justify-content:space-between}
#tip b{font-weight:400;opacity:.8}#tip span{text-align:right;overflow-wrap:anywhere;white-space:pre-line}
@media (max-width:820px){.grid{grid-template-columns:minmax(0,1fr)}}
@media (max-width:560px){header,main,footer,nav{padding-left:16px;padding-right:16px}
.facts{grid-template-columns:1fr;gap:0}.facts dd{margin-bottom:8px}
h1{font-size:1.4rem}.tiles{grid-template-columns:1fr 1fr}.tiles dd{font-size:1.35rem}}
@media print{nav,#theme,.skip{display:none}figure{break-inside:avoid}}
"""

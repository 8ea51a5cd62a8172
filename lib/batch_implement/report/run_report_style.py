"""The style sheet of the HTML report: system fonts, light and dark colours, nothing to load. Pure.

`tests/unit/report/test_run_report_html.py` checks the contrast of the colours.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

LIGHT = {
    "page": "#f7f6f3", "card": "#ffffff", "sunk": "#f1efea", "text": "#1f1e1b", "soft": "#5d5a53", "rule": "#dedad1",
    "link": "#1a5a96", "done": "#1c6e42", "failed": "#b02a20", "skipped": "#6a665e", "running": "#1a5a96",
    "pending": "#6a665e", "wait": "#8a5a00", "band": "#f3e3bd",
}  # fmt: skip
DARK = {
    "page": "#141414", "card": "#1c1c1d", "sunk": "#262627", "text": "#ebe9e4", "soft": "#a8a49b", "rule": "#353533",
    "link": "#86bcf2", "done": "#6fce99", "failed": "#ff9188", "skipped": "#aaa69d", "running": "#86bcf2",
    "pending": "#aaa69d", "wait": "#e7b95a", "band": "#3d3118",
}  # fmt: skip

_SHEET = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);overflow-wrap:anywhere;font:16px/1.55 system-ui,-apple-system,
"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:62rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:2rem;line-height:1.2;letter-spacing:-.015em;font-weight:650;margin:.35rem 0 .6rem}
h2{font-size:1.15rem;line-height:1.3;font-weight:650;margin:2.75rem 0 .8rem}
h3{font-size:1rem;line-height:1.4;font-weight:600;margin:0}
p{margin:.4rem 0}
a{color:var(--link);text-underline-offset:.15em}
code,pre{font:.875em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono","DejaVu Sans Mono",monospace}
pre{margin:.45rem 0;padding:.55rem .75rem;background:var(--sunk);border-radius:6px;white-space:pre-wrap}
.soft{color:var(--soft)}
.small{font-size:.875rem}
.facts{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;color:var(--soft);margin:.4rem 0;padding:0;list-style:none}
.badge{font-size:.8125rem;font-weight:600;white-space:nowrap}
.badge::before{content:"";display:inline-block;width:.55em;height:.55em;border-radius:50%;background:currentColor;
margin-right:.45em;vertical-align:.06em}
.badge.hollow::before{background:none;border:2px solid currentColor}
.card{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:1rem 1.15rem;margin:.75rem 0}
.card.urgent{border-left:4px solid var(--failed)}
.card.urgent.paused{border-left-color:var(--wait)}
.meter{display:block;margin:1.1rem 0 .2rem;border-radius:5px;background:var(--rule)}
dl{display:grid;grid-template-columns:minmax(6rem,10rem) minmax(0,1fr);gap:.3rem 1rem;margin:.5rem 0}
dt{color:var(--soft)}
dd{margin:0}
ol.steps{margin:0;padding:0;list-style:none}
ol.steps li{margin:.75rem 0}
.rows{margin:0;padding:0;list-style:none;background:var(--card);border:1px solid var(--rule);border-radius:10px;
overflow:hidden}
.rows>li+li{border-top:1px solid var(--rule)}
.row{display:grid;grid-template-columns:2.25rem minmax(0,1fr) 5.25rem 14.5rem;gap:.15rem .9rem;
padding:.6rem 2.5rem .6rem .9rem;align-items:baseline}
summary.row{cursor:pointer;list-style:none;position:relative}
summary.row::after{content:"";position:absolute;right:1.1rem;top:1.1rem;width:.42rem;height:.42rem;
border:solid var(--soft);border-width:0 1.5px 1.5px 0;transform:rotate(45deg)}
details[open]>summary.row::after{top:1.3rem;transform:rotate(-135deg)}
summary.row::-webkit-details-marker{display:none}
summary.row:hover,summary.row:focus-visible{background:var(--sunk)}
details[open]>summary.row{font-weight:600}
.row .number{color:var(--soft);text-align:right}
.row .amount{color:var(--soft);text-align:right;font-weight:400;font-size:.875rem}
.told{padding:.1rem 2.5rem 1rem 4.05rem}
.told ul{margin:.3rem 0;padding-left:1.1rem}
.told h3{margin-top:.9rem}
.fold{margin:.75rem 0}
.fold>summary{cursor:pointer;color:var(--link);padding:.35rem 0}
.chart{display:grid;grid-template-columns:minmax(0,17rem) minmax(0,1fr);gap:0 1rem;overflow:hidden;padding-right:.4rem}
.names{margin:0;padding:AXISpx 0 0;list-style:none;font-size:.8125rem;line-height:LANEpx}
.names li{height:LANEpx;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.names b{display:inline-block;min-width:1.9rem;margin-right:.5rem;text-align:right;font-weight:400;color:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1.25rem;margin:.75rem 0 0;padding:0;list-style:none}
.line{display:block;overflow:visible}
.hour{fill:var(--soft);font-size:12px}
.tick{stroke:var(--rule)}
.lane{stroke:var(--rule);stroke-dasharray:1 4}
.band{fill:var(--band)}
.bar{stroke-width:1.5}
.bar.hollow{fill:var(--card)}
.mark{fill:var(--card);stroke-width:2}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:baseline;padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--rule)}
tr:last-child>*{border-bottom:0}
th{font-weight:400;color:var(--soft)}
.amounts td{text-align:right;padding-right:0;white-space:nowrap}
.waits td:first-child{white-space:nowrap}
footer{margin-top:3rem;color:var(--soft);font-size:.875rem}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media (max-width:44rem){
main{padding:1.5rem 1rem 3rem}
h1{font-size:1.6rem}
.card{padding:.85rem .9rem}
.row{grid-template-columns:1.6rem minmax(0,1fr) auto;padding:.6rem 2.1rem .6rem .7rem;gap:.1rem .6rem}
summary.row::after{right:.8rem}
.row .text{grid-column:2/-1}
.row .badge{grid-column:2}
.told{padding:.1rem .9rem .9rem 2.9rem}
dl{grid-template-columns:minmax(0,1fr);gap:0}
dd{margin:0 0 .5rem}
.chart{grid-template-columns:1.9rem minmax(0,1fr);gap:0 .6rem}
.names span{display:none}
.names b{margin:0}
.waits thead{display:none}
.waits tr{display:block;border-bottom:1px solid var(--rule);padding:.4rem 0}
.waits tr:last-child{border-bottom:0}
.waits td{display:block;border:0;padding:0}
}
@media print{body{background:none}.card,.rows{break-inside:avoid}}
"""


def render_css(lane_px: int, axis_px: int) -> str:
    """Return the style sheet for this height of a lane and of the axis of the time line."""
    shared = _SHEET.strip().replace("LANE", str(lane_px)).replace("AXIS", str(axis_px))
    return "\n".join((
        f":root{{color-scheme:light dark;{_variables(LIGHT)}}}",
        f"@media (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}",
        *(f".badge.{name}{{color:var(--{colour})}}" for name, colour in _COLOUR_OF.items()),
        *(f".bar.{name},.part.{name}{{fill:var(--{colour})}}" for name, colour in _COLOUR_OF.items()),
        *(f".bar.{name},.mark.{name}{{stroke:var(--{colour})}}" for name, colour in _COLOUR_OF.items()),
        shared,
    ))  # fmt: skip


_COLOUR_OF = {
    "done": "done", "complete": "done", "merged": "done", "failed": "failed", "ended": "failed",
    "needs_user": "failed", "sent_back": "wait", "interrupted": "wait", "paused": "wait", "waiting": "wait",
    "skipped": "skipped", "mixed": "skipped", "archived": "skipped", "pending": "pending", "running": "running",
    "merging": "running", "in": "running",
}  # fmt: skip


def _variables(colours: Mapping[str, str]) -> str:
    return ";".join(f"--{name}:{colour}" for name, colour in colours.items())

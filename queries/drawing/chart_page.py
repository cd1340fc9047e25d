"""A page with one chart and the library that draws it; it fetches nothing, and no text in it is markup."""

from __future__ import annotations

import json
from typing import Any

# ast: expressions are interpreted, so that the page needs no eval. actions: the chart can be saved; Vega's
# editor would send it to another host.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'; base-uri 'none'">
<link rel="icon" href="data:,">
<title>Chart</title>
</head>
<body>
<div id="chart"></div>
<script type="application/json" id="data">{data}</script>
<script>{library}</script>
<script>
vegaEmbed("#chart", JSON.parse(document.getElementById("data").textContent), {{
  renderer: "svg", ast: true,
  actions: {{ export: true, source: false, compiled: false, editor: false }},
}}).catch(console.error);
</script>
</body>
</html>
"""


def chart_page(spec: Any, library: str) -> str:  # Any: JSON, a specification of Vega-Lite
    """The page of a chart. library: the script that defines `vegaEmbed`."""
    return _PAGE.format(data=in_script(spec), library=library)


def in_script(data: Any) -> str:  # Any: JSON
    """JSON for a script element: no text in it can end the element or open a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text

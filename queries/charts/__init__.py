"""The charts: a module for each, from records to an Altair chart.

To add one to the report: a module here, its name in `queries/web/report_charts.py`, its section and caption
in `queries/web/pages/report.html`. A chart of a single result is drawn by `--plot` of its command in
`survey/cli/`.
"""

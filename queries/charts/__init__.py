"""Charts, as Altair specifications: to add one, write its function here.

One of the report goes into `models.py` or `histograms.py`, and its name into `queries/web/report_charts.py`;
one of a single result is a module of its own, drawn by `--plot` of its command.
"""

"""Records: each field of one is a column of the catalog.

measured_columns.py: what is measured of a matrix. target.py: the model, its commit and its tensor.
tokenizer.py: its tokenizer. catalog_rows.py: when and how it was measured, a token, an attempt.
results.py: single results, such as a cluster or a training run.
"""

"""`survey spectrum`: the spectrum of one matrix, the texts of its rows, and its row in the catalog."""

from __future__ import annotations

import time
from collections.abc import Sequence

from catalog.store.open import CatalogStore
from jobs.single_results.cluster import OnOpened
from jobs.single_results.commit import commit_row, made_here
from jobs.tasks.tokenizer import tokenizer_of_matrix
from survey.api import spectrum
from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.onepass.device import device_of_products
from survey.opening import Matrix, open_model
from survey.records.column_field import values_of
from survey.records.results import SpectrumRow, WhichMatrix
from survey.records.settings import Settings
from survey.records.target import MatrixName, ModelRef
from survey.spectra.study import SpectrumStudy

NAMES_S = 600.0  # time limit of a tokenizer, whose own limits end it much earlier

Texts = Sequence[str | None]


def commit_spectrum(
    model: ModelRef, matrix_name: MatrixName, settings: Settings, store: CatalogStore, opened: OnOpened
) -> tuple[SpectrumRow, SpectrumStudy, Texts | None]:
    """Study a matrix's spectrum and commit its row; opened(matrix) makes a counter of its bytes.

    Also returns the text of each row; None if no tokenizer can be read. Raises SurveyError if the model
    cannot be read or the row cannot be committed.
    """
    start = time.perf_counter()
    with open_model(model, matrix_name, settings) as matrix:
        device = device_of_products(settings.device, *matrix.shape).name
        study = spectrum(matrix, device=device, on_progress=opened(matrix))
        texts = _texts(matrix, study)
        identity = matrix.target.identity
    which = WhichMatrix(
        repo=identity.repo, revision=identity.revision, sha=identity.sha, matrix=identity.matrix
    )
    row = SpectrumRow(
        **values_of(which, study.figures, made_here()),
        device=device,
        elapsed_s=time.perf_counter() - start,
    )
    return commit_row(store, "spectra", (row.repo, row.sha, row.matrix), row), study, texts


def _texts(matrix: Matrix, study: SpectrumStudy) -> Texts | None:
    files = tokenizer_files(matrix.checkpoint.files, matrix.checkpoint.part)
    result = tokenizer_of_matrix(matrix.checkpoint, files, matrix.shape[0], study.black_holes, NAMES_S)
    return None if result.columns is None else result.columns.text

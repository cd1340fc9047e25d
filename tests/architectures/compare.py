"""Compare the survey's choice in a checkpoint with the truth."""

from __future__ import annotations

from pathlib import Path

from architectures.checkpoint import Truth, Weight, digest

from survey.api import open_matrix
from survey.errors import SurveyError
from survey.opening import Matrix
from survey.records.target import MatrixName


def misses(folder: Path, truth: Truth) -> list[str]:
    """One line for each wrong choice; empty if both matrices and `tied` are right."""
    outputs = () if truth.output is None else (truth.output,)
    return [*_miss(folder, "output", outputs, truth.tied), *_miss(folder, "input", truth.inputs, truth.tied)]


def _miss(folder: Path, matrix: MatrixName, weights: tuple[Weight, ...], tied: bool) -> list[str]:
    try:
        opened = open_matrix(folder, matrix)
    except SurveyError as error:
        return [f"{matrix}: {error.reason}: {error.problem}"] if weights else []
    name, shape = opened.target.spec.name, list(opened.shape)
    if not weights:
        return [f"{matrix}: {name} {shape}, though its class names none"]
    if _digest_of(opened) not in {weight.digest for weight in weights}:
        return [f"{matrix}: {name} {shape} is not the model's own {list(weights[0].shape)}"]
    if matrix == "output" and opened.target.identity.tied is not tied:
        return [f"{matrix}: {name} is called {'untied' if tied else 'tied'}, and is not"]
    return []


def _digest_of(matrix: Matrix) -> str:
    return digest(b"".join(bytes(block) for block in matrix.blocks()))

"""A local Hub that serves the demo's models, and the list that names them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.demo.checkpoints import MODELS, DemoModel, write
from jobs.demo.hub.local_hub import LocalHub
from jobs.demo.twins import TWINS, write_twin
from survey.process.atomic_write import write_atomically


@contextmanager
def demo_hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the demo's models while the context lasts; yields the Hub's URL and their names.

    `folder` receives models.txt; the checkpoints are temporary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="survey-demo-") as checkpoints, LocalHub() as hub:
        names = publish_all(hub, Path(checkpoints))
        text = "# the demo's models\n" + "\n".join(names) + "\n"
        write_atomically(folder / "models.txt", text.encode())
        yield hub.endpoint, names


def publish_all(hub: LocalHub, folder: Path) -> list[str]:
    """Write the demo's models below a folder and commit each to its repository; returns their names."""
    for model in MODELS:
        publish(hub, model, folder / model.repo)
    for twin in TWINS:
        write_twin(twin, folder / twin.repo)
        hub.add_repo(twin.repo, folder / twin.repo, card_data={"base_model": twin.original.repo}, **twin.card)
    return [*(model.repo for model in MODELS), *(twin.repo for twin in TWINS)]


def publish(hub: LocalHub, model: DemoModel, folder: Path, *, branch: str = "main") -> str:
    """Write a checkpoint into a folder and commit it to a branch of its repository; returns the sha."""
    write(model, folder)
    return hub.add_repo(
        model.repo,
        folder,
        branch=branch,
        library_name="transformers",
        pipeline_tag="text-generation",
        card_data={"base_model": model.base_model} if model.base_model else {},
        model_tags=("safetensors", "demo"),
    )

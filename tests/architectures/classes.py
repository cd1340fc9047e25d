"""Every model class of transformers, even if no mapping of its auto classes lists it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType

from transformers import PretrainedConfig, PreTrainedModel, models


@cache
def classes() -> dict[str, type[PreTrainedModel]]:
    """Every concrete class with a config of its own, by name."""
    return {
        name: kind
        for module in _modules()
        for name, kind in vars(module).items()
        if inspect.isclass(kind)
        and issubclass(kind, PreTrainedModel)
        and kind.__module__ == module.__name__
        and not name.endswith("PreTrainedModel")
        and isinstance(kind.config_class, type)
        and kind.config_class is not PretrainedConfig
    }


def names_a_head(kind: type[PreTrainedModel]) -> bool:
    """Whether the code of a class returns output embeddings or builds an `lm_head`."""
    bases = [
        base for base in kind.__mro__ if issubclass(base, PreTrainedModel) and base is not PreTrainedModel
    ]
    return any("get_output_embeddings" in vars(base) for base in bases) or any(
        "self.lm_head =" in inspect.getsource(base) for base in bases
    )


def reads_tokens(kind: type[PreTrainedModel]) -> bool:
    """Whether its config, or that of its language part, states a vocabulary."""
    return _states_a_vocabulary(kind.config_class)


@cache  # of the dozen classes with one config
def _states_a_vocabulary(kind: type[PretrainedConfig]) -> bool:
    try:
        config = kind()
        return hasattr(config.get_text_config(), "vocab_size") or hasattr(config, "vocab_size")
    except Exception:  # noqa: BLE001 - foreign code: an invalid default config may still state one
        return True


def _modules() -> list[ModuleType]:
    """The modules that define models, except those whose requirements are not installed."""
    modules = []
    for path in models.__path__:
        for package in pkgutil.iter_modules([path]):
            for module in pkgutil.iter_modules([f"{path}/{package.name}"]):
                if module.name.startswith("modeling_"):
                    try:
                        modules.append(
                            importlib.import_module(f"{models.__name__}.{package.name}.{module.name}")
                        )
                    except ImportError:
                        continue
    return modules

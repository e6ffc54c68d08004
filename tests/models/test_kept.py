"""Models are loaded once for runs that agree, and never two of a kind are held."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from typing import ClassVar

import pytest

from deforum.models.kept import KeptModels


class Model:
    alive: ClassVar[weakref.WeakSet[Model]] = weakref.WeakSet()
    loaded = 0

    def __init__(self, name: str, *, precision: str = "fp32") -> None:
        gc.collect()
        assert not self.alive, "the model before is still held while this one is loaded"
        self.alive.add(self)
        type(self).loaded += 1
        self.said = (name, precision)


class Depth(Model):
    alive: ClassVar[weakref.WeakSet[Model]] = weakref.WeakSet()


@pytest.fixture(autouse=True)
def fresh() -> None:
    gc.collect()
    Model.loaded = Depth.loaded = 0


def test_the_same_is_loaded_once_and_another_takes_its_place() -> None:
    models = KeptModels()
    first = models.get(partial(Model, "a", precision="fp16"))
    assert models.get(partial(Model, "a", precision="fp16")) is first and Model.loaded == 1
    del first
    assert models.get(partial(Model, "a", precision="fp32")).said == ("a", "fp32")
    assert models.get(partial(Model, "b")).said == ("b", "fp32") and Model.loaded == 3


def test_kinds_do_not_displace_each_other() -> None:
    models = KeptModels()
    one, other = models.get(partial(Model, "a")), models.get(partial(Depth, "a"))
    assert models.get(partial(Model, "a")) is one and models.get(partial(Depth, "a")) is other
    assert (Model.loaded, Depth.loaded) == (1, 1)


def test_what_fails_to_load_is_not_held() -> None:
    models, fails = KeptModels(), True

    def load(name: str) -> str:
        if fails:
            raise OSError(name)
        return name

    with pytest.raises(OSError):
        models.get(partial(load, "a"))
    fails = False
    assert models.get(partial(load, "a")) == "a"


def test_clear_gives_the_memory_back() -> None:
    models = KeptModels()
    models.get(partial(Model, "a"))
    models.clear()
    gc.collect()
    assert not Model.alive

"""Networks as graphs of OpenVINO: the same results as torch's, kept from process to process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deforum.models import kept_graphs, open_vino
from deforum.models.faster import Faster, Form
from deforum.models.kept_graphs import is_supported
from deforum.models.open_vino import Compared, Graph, digest, side_by_side
from tests.helpers import ROOT

Tensor = torch.Tensor

pytestmark = pytest.mark.skipif(not is_supported(), reason="OpenVINO is not here, or not for this processor")


class Net(nn.Module):
    """Two inputs, of which the second may be None, and two results."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor, added: Tensor | None) -> tuple[Tensor, Tensor]:
        y = nn.functional.silu(self.norm(self.conv(x)))
        y = y if added is None else y + added[:, :, None, None]
        return y, y.mean((2, 3))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(kept_graphs.ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kept_graphs, "_early", {})
    monkeypatch.setattr(kept_graphs, "_used", [])
    return tmp_path / "deforum" / "graphs"


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def no_making(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, a graph that is made anew is an error."""
    monkeypatch.setattr(open_vino, "compiled", lambda *_: pytest.fail("made anew"))


def same(run: Graph, net: Net, *inputs: Tensor | None) -> None:
    made, right = run(*inputs), net(*inputs)
    assert len(made) == len(right) == 2
    for one, other in zip(made, right, strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, atol=1e-5)


def seen(rows: int, height: int, width: int) -> Tensor:
    return torch.rand(rows, 3, height, width)


def test_a_graph_gives_what_the_network_gives_for_each_shape() -> None:
    net = Net()
    run = Graph(net, net)
    for shape in ((1, 8, 8), (2, 5, 9), (1, 8, 8)):
        x = seen(*shape)
        same(run, net, x, None)
        same(run, net, x.contiguous(memory_format=torch.channels_last), torch.rand(len(x), 8))
    assert run(seen(1, 8, 8), None)[0].is_contiguous(memory_format=torch.channels_last)


def test_results_are_the_callers_own() -> None:
    net = Net()
    run = Graph(net, net)
    first, x = run(seen(1, 8, 8), None)[0], seen(1, 8, 8)
    before = first.clone()
    run(x, None)
    assert torch.equal(first, before)


def test_a_graph_is_kept_for_the_next_process(cache: Path, request: pytest.FixtureRequest) -> None:
    net, x = Net(), seen(1, 8, 8)
    run = Graph(net, net)
    assert not run.recall(x, None)
    run(x, None)
    assert not list(cache.glob("*.graph"))  # not before its results were compared
    run.keep(x, None)
    request.getfixturevalue("no_making")
    again = Graph(Net(), net)
    assert again.recall(x, None) and not again.recall(seen(1, 8, 9), None)
    same(again, net, x, None)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-10], lambda b: b[:50] + b"?" + b[51:], lambda b: b"", lambda b: b"{}"]
)
def test_a_damaged_graph_is_made_anew(cache: Path, damage: Any) -> None:
    net, x = Net(), seen(1, 8, 8)
    run = Graph(net, net)
    run(x, None)
    run.keep(x, None)
    (file,) = cache.glob("*.graph")
    file.write_bytes(damage(file.read_bytes()))
    again = Graph(net, net)
    assert not again.recall(x, None)
    same(again, net, x, None)


def test_other_weights_other_layers_and_other_threads_have_graphs_of_their_own(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x = Net(), seen(1, 8, 8)
    run = Graph(net, net)
    run(x, None)
    run.keep(x, None)
    other = Net()
    other.conv.weight[0, 0, 0, 0] += 1e-6
    assert digest(other) != digest(net) == digest(Net())
    assert not Graph(other, other).recall(x, None)
    less = Net()
    less.norm = nn.GroupNorm(4, 8)  # the same weights
    assert digest(less) != digest(net)
    wrapped = Net()
    wrapped.conv.padding_mode = "circular"
    skipped = Net()
    skipped.norm.__dict__["forward"] = nn.functional.silu
    told = Net()
    told.tiles = {"x": True, "y": False}  # type: ignore[assignment]
    assert len({digest(each) for each in (net, wrapped, skipped, told)}) == 4
    with side_by_side(2):
        assert not Graph(net, net).recall(x, None)
    monkeypatch.setattr(open_vino, "VERSION", -1)
    assert not Graph(net, net).recall(x, None)


def test_the_graphs_that_were_not_used_for_long_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    run, sizes = Graph(net, net), (8, 9, 10)
    for age, size in enumerate(sizes):
        run(seen(1, size, size), None)
        run.keep(seen(1, size, size), None)
        newest = max(cache.glob("*.graph"), key=lambda file: file.stat().st_mtime)
        os.utime(newest, (1000 + age, 1000 + age))
    assert Graph(net, net).recall(seen(1, 8, 8), None)  # used: now the newest
    monkeypatch.setattr(kept_graphs, "MOST_KEPT", 100 + sum(file.stat().st_size for file in cache.glob("*.graph")))
    run(seen(1, 11, 11), None)
    run.keep(seen(1, 11, 11), None)
    there = [size for size in (*sizes, 11) if Graph(net, net).recall(seen(1, size, size), None)]
    assert there == [8, 10, 11]


def test_graphs_of_the_process_before_are_loaded_early_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, sizes = Net(), (8, 9, 10)
    run = Graph(net, net)
    for size in (11, *sizes):
        run(seen(1, size, size), None)
        run.keep(seen(1, size, size), None)
    monkeypatch.setattr(kept_graphs, "_used", [])  # another process
    run = Graph(net, net)
    assert all(run.recall(seen(1, size, size), None) for size in sizes)
    monkeypatch.setattr(kept_graphs, "EARLY", 2)
    monkeypatch.setattr(kept_graphs, "_begun", threading.Event())
    kept_graphs.load_early()  # those that are needed first
    assert len(kept_graphs._early) == 2
    assert all(future.result() is not None for future in kept_graphs._early.values())
    monkeypatch.setattr(kept_graphs, "_load", lambda name: None)
    again = Graph(net, net)
    assert [again.recall(seen(1, size, size), None) for size in sizes] == [True, True, False]
    kept_graphs.load_early()
    assert not kept_graphs._early  # the runs of a sweep have the graphs of the first one
    same(again, net, seen(1, 9, 9), None)


def test_a_graph_that_is_asked_for_does_not_wait_for_others(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    run = Graph(net, net)
    for size in (8, 9):
        run(seen(1, size, size), None)
        run.keep(seen(1, size, size), None)
    load, begun, goes_on, loaded = kept_graphs._load, threading.Event(), threading.Event(), list[str]()

    def slowly(name: str) -> Any:
        loaded.append(name)
        if threading.current_thread().name == "graphs":
            begun.set()
            assert goes_on.wait(30)
        return load(name)

    monkeypatch.setattr(kept_graphs, "_load", slowly)
    monkeypatch.setattr(kept_graphs, "_begun", threading.Event())
    kept_graphs.load_early()  # in the order of their use
    assert begun.wait(30)
    again = Graph(net, net)
    assert again.recall(seen(1, 9, 9), None) and not goes_on.is_set()
    goes_on.set()
    assert again.recall(seen(1, 8, 8), None)
    for thread in threading.enumerate():
        if thread.name == "graphs":
            thread.join()
    assert len(loaded) == 2  # each once


def test_early_loading_ends_where_another_graph_is_asked_for(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    run = Graph(net, net)
    for size in (8, 9, 10):
        run(seen(1, size, size), None)
        run.keep(seen(1, size, size), None)
    load, begun, goes_on, loaded = kept_graphs._load, threading.Event(), threading.Event(), list[str]()

    def slowly(name: str) -> Any:
        if threading.current_thread().name == "graphs":
            loaded.append(name)
            begun.set()
            assert goes_on.wait(30)
        return load(name)

    monkeypatch.setattr(kept_graphs, "_load", slowly)
    monkeypatch.setattr(kept_graphs, "_begun", threading.Event())
    kept_graphs.load_early()
    assert begun.wait(30)
    again = Graph(net, net)
    assert not again.recall(seen(1, 12, 12), None)
    goes_on.set()
    for thread in threading.enumerate():
        if thread.name == "graphs":
            thread.join()
    assert len(loaded) == 1  # that which was being loaded
    assert again.recall(seen(1, 10, 10), None)  # loaded now


class Other(nn.Module):
    """A faster form of `Net`, off by an error."""

    def __init__(self, net: Net, error: float) -> None:
        super().__init__()
        self.net, self.error = net, error

    def forward(self, x: Tensor, added: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(each + self.error for each in self.net(x, added))


def plain_calls(net: Net, x: Tensor, error: float = 0.0) -> int:
    """Call a network in a new process, so to say; return how often it was called in its plain form."""
    calls = [0]

    def plain(*inputs: Tensor | None) -> Any:
        calls[0] += 1
        return net(*inputs)

    other = Other(net, error)
    run = Faster("the net", net, plain, [Form(lambda: Compared(net, other, other), lambda net: True)])
    assert torch.allclose(run(x, None)[0], net(x, None)[0], atol=1e-5)
    return calls[0]


def test_a_comparison_is_noted_for_the_next_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.inference_mode(False):
        net, other = Net(), Net()
    other.conv.weight.data[0, 0, 0, 0] += 1
    x = seen(1, 8, 8)
    assert [plain_calls(net, x) for _ in range(2)] == [1, 0]
    assert [plain_calls(net, seen(1, 8, 9)) for _ in range(2)] == [1, 0]
    assert plain_calls(other, x) == 1  # other weights
    assert plain_calls(net, x, error=1e-7) == 1  # another form
    with side_by_side(2):
        assert plain_calls(net, x) == 1
    depends_on = open_vino._of_torch()
    assert depends_on[-1] != "00000000"  # the checksum of the package's code
    monkeypatch.setattr(open_vino, "_of_torch", lambda: (*depends_on[:-1], "1"))
    assert [plain_calls(net, x) for _ in range(2)] == [1, 0]  # as after an update of the package
    monkeypatch.setenv(kept_graphs.ENVIRONMENT, "off")
    assert [plain_calls(net, x) for _ in range(2)] == [1, 1]


def test_a_form_that_differs_is_compared_again() -> None:
    with torch.inference_mode(False):
        net = Net()
    assert [plain_calls(net, seen(1, 8, 8), error=0.1) for _ in range(2)] == [2, 2]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    net, x = Net(), seen(1, 8, 8)
    run = Graph(net, net)
    assert not run.recall(x, None)
    same(run, net, x, None)
    run.keep(x, None)


def test_threads_side_by_side_give_the_same() -> None:
    net = Net()
    run = Graph(net, net)
    inputs = [seen(1, 8, 8) for _ in range(8)]
    right = [net(x, None)[0] for x in inputs]

    def work(x: Tensor) -> Tensor:
        with torch.inference_mode(), side_by_side(2):
            return run(x, None)[0]  # type: ignore[no-any-return]

    with ThreadPoolExecutor(2) as pool:
        for made, expected in zip(pool.map(work, inputs), right, strict=True):
            assert torch.allclose(made, expected, atol=1e-5)


def test_the_cache_can_be_elsewhere_and_all_of_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kept_graphs.ENVIRONMENT, str(tmp_path / "elsewhere"))
    net, x = Net(), seen(1, 8, 8)
    run = Graph(net, net)
    run(x, None)
    run.keep(x, None)
    assert len(list((tmp_path / "elsewhere").glob("*.graph"))) == 1 and is_supported()
    monkeypatch.setenv(kept_graphs.ENVIRONMENT, "off")
    assert not is_supported()


def test_no_use_is_reported() -> None:
    """Importing OpenVINO as it is connects to a server, and writes a number of the user's into a folder of its own."""
    done = subprocess.run(
        [sys.executable, "-c", UNREPORTED], capture_output=True, text=True, timeout=100, cwd=ROOT, check=True
    )
    assert done.stdout.split() == ["right"]


UNREPORTED = """
import socket, sys, threading, time

def refused(*given, **named):
    print("connects to", given)
    raise OSError

socket.create_connection = socket.socket.connect = refused
import torch
from torch import nn
from deforum.models.open_vino import Graph
net = nn.Conv2d(3, 4, 3).requires_grad_(False).eval()
with torch.inference_mode():
    x = torch.rand(1, 3, 8, 8)
    print("right" if torch.allclose(Graph(net, net)(x), net(x), atol=1e-5) else "wrong")
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(2)
assert "openvino_telemetry" not in sys.modules
"""


FREED = """
import gc, os, signal, sys, threading, time
import torch
from torch import nn
from deforum.models.open_vino import Graph
net = nn.Conv2d(3, 4, 3).requires_grad_(False).eval()
held = [Graph(net, net)]
with torch.inference_mode():
    held[0](torch.zeros(1, 3, 16, 16))  # on this thread the plugin is loaded
def free():
    held.clear()
    gc.collect()
freeing = threading.Thread(target=free)
freeing.start()
freeing.join()
signal.signal(signal.SIGINT, lambda number, frame: print("heard", flush=True))
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0.1)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_an_interrupt_is_heard_after_graphs_were_freed_by_another_thread(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), kept_graphs.ENVIRONMENT: str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FREED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "heard\n", done.stderr

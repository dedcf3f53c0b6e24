import time

import jax
import jax.numpy as jnp

from metarims.runs.compile_clock import CompileClock


def test_compiling_counts_and_running_does_not():
    function, argument = jax.jit(lambda x: jnp.sin(x) + time.time_ns() % 10**6), jnp.ones(3)
    with CompileClock() as clock:
        began = time.perf_counter()
        function(argument).block_until_ready()
        wall = time.perf_counter() - began
        first = clock.seconds
        function(argument).block_until_ready()
        assert 0 < first <= wall
        assert clock.seconds == first
    jax.jit(lambda x: x + 2)(argument)
    assert clock.seconds == first, "it listens only inside"


def test_nested_stages_count_once(monkeypatch):
    clock = CompileClock()
    for now, duration in ((3.0, 1.0), (5.0, 4.0), (10.0, 2.0)):  # 2..3 lies inside 1..5; then 8..10.
        monkeypatch.setattr(time, "perf_counter", lambda now=now: now)
        clock._listen("/jax/core/compile/x", duration)
        clock._listen("/jax/other/x", 100.0)
    assert clock.seconds == 6.0

"""Waiting times between attempts: exponential with full jitter."""

from collections.abc import Callable, Iterator


def full_jitter(
    uniform: Callable[[float, float], float], *, first_s: float = 0.5, max_s: float = 30.0
) -> Iterator[float]:
    """Yield endless waits in seconds, uniform under a ceiling that doubles from ``first_s`` up to ``max_s``.

    ``uniform(low, high)`` is the source of randomness. Full jitter spreads reconnecting clients best
    (Exponential Backoff And Jitter, AWS Architecture Blog, 2015). Unlike there, a wait is at least a tenth of
    its ceiling, which keeps a run of small draws from becoming a tight loop.
    """
    ceiling_s = min(first_s, max_s)
    while True:
        yield uniform(ceiling_s / 10, ceiling_s)
        ceiling_s = min(ceiling_s * 2, max_s)

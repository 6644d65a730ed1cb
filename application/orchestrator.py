"""Desired streams against running streams.

Any instance writes what should be (``connect_from_context``); the one that owns a partition of ``ws.streams``
is told of its facts in the order of the log, folds them, and runs exactly what they say.
"""

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
import structlog

from application.outcomes import OutcomeWriter
from application.ports import AtomicWriter, Clock
from application.stream import Stream, StreamParts
from core.command_rules import Profiles, connect_facts, disconnect_facts
from core.errors import ErrorCode, ExchangeError, OrchestratorError
from core.identity import ConnectionScopeDomain
from core.streams import (
    DesiredStream,
    Ended,
    EndFact,
    Ending,
    Fact,
    Outcome,
    OutcomeFact,
    ScopeFold,
    StopFact,
    StreamContextDomain,
    SubscribeFact,
    Subscription,
    Wanted,
)

_log = structlog.get_logger("orchestrator")

_HEARD_OF_WITHIN: Final = 0.7
"""Of a session, the part after which it may be over: the last heartbeat went out up to a quarter of it before
the standstill began."""
_HAND_OVER_S: Final = 3.0
"""How long giving up partitions waits for the outcomes given on them to be written."""


class _Owned(msgspec.Struct):
    """A partition of ``ws.streams`` that is ours."""

    folds: dict[str, ScopeFold]
    caught_up: bool = False


class _Pending(msgspec.Struct, frozen=True):
    """A connect command that waits for the exchange's word on one symbol."""

    offset: int
    correlation_id: str | None


class _Unsettled(msgspec.Struct):
    """A scope whose facts have been applied and not been run yet, and the symbols they subscribed."""

    fold: ScopeFold
    subscribed: dict[str, None] = {}


@contextmanager
def _contained(scope: ConnectionScopeDomain) -> Iterator[None]:
    """What goes wrong with one scope is logged, and ends neither the others nor the reading of the log."""
    try:
        yield
    except Exception:  # noqa: BLE001 - whatever it is, the other scopes go on
        _log.exception("stream cannot be run as its facts say", scope=scope.key)


class StreamOrchestrator:
    """Owns streams as partitions are assigned to it; everything but the writing runs in the event loop."""

    def __init__(
        self,
        *,
        writer: AtomicWriter,
        outcomes: OutcomeWriter,
        parts: StreamParts,
        profiles: Profiles,
        clock: Clock,
        session_timeout_s: float = 10.0,
    ) -> None:
        self._writer = writer
        self._outcomes = outcomes
        self._parts = parts
        self._profiles = profiles
        self._clock = clock
        self._session_timeout_s = session_timeout_s
        self._owned: dict[int, _Owned] = {}
        self._streams: dict[str, Stream] = {}
        self._partition_of: dict[str, int] = {}
        self._orphans: set[int] = set()
        self._pending: dict[str, list[_Pending]] = {}
        self._early_refusals: dict[str, list[tuple[tuple[str, ...], ExchangeError]]] = {}
        self._ended: list[Stream] = []
        self._ticked_s = clock.monotonic_s()
        self._sure_until_us = 0
        self._suspended_until_s: float | None = None

    # -- any instance: what should be --------------------------------------------------------------

    async def connect_from_context(self, context: StreamContextDomain) -> None:
        """Write the desired state and return once that is acknowledged; the owner opens the socket.

        Raises ``DeliveryError`` when Kafka did not take it.
        """
        now_ms = self._clock.epoch_us() // 1000
        await self._writer.write(connect_facts(context, ticket_id=str(uuid.uuid4()), now_ms=now_ms), [])

    async def disconnect(
        self,
        scope: ConnectionScopeDomain,
        symbols: Sequence[str] | None = None,
        *,
        correlation_id: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Write that canonical ``symbols``, or the whole stream, end; raises ``DeliveryError`` like connect."""
        ending = Ending(str(uuid.uuid4()), correlation_id, reason)
        await self._writer.write(disconnect_facts(scope, symbols, ending), [])

    # -- the owner: the log's partitions come and go -----------------------------------------------

    def assigned(self, partition: int) -> None:
        """A partition is ours; its facts follow from the first on. Streams that still run there go on."""
        self._owned[partition] = _Owned({})

    def fact(self, partition: int, offset: int, fact: Fact) -> None:
        """The next fact of a partition of ours."""
        self.facts(partition, [(offset, fact)])

    def facts(self, partition: int, batch: Iterable[tuple[int, Fact]]) -> None:
        """The next facts of a partition of ours, as (offset, fact); each scope is reconciled once for all.

        What it costs grows with the facts and the symbols of their scopes, not with their product.
        """
        owned = self._owned.get(partition)
        if owned is None:
            return
        unsettled: dict[str, _Unsettled] = {}
        for offset, fact in batch:
            scope = fact.scope.stream
            fold = owned.folds.get(scope.key)
            if fold is None:
                fold = owned.folds[scope.key] = ScopeFold(scope)
            with _contained(scope):
                if owned.caught_up:
                    self._take_live(fold, fact, offset, unsettled)
                else:
                    fold.apply(fact, offset)
        for rest in unsettled.values():
            with _contained(rest.fold.scope):
                self._settle(rest)

    def caught_up(self, partition: int) -> None:
        """All that the partition held when it was assigned has been told: run it."""
        owned = self._owned.get(partition)
        if owned is None or owned.caught_up:
            return
        owned.caught_up = True
        self._orphans.discard(partition)
        for fold in owned.folds.values():
            with _contained(fold.scope):
                self._begin(fold, partition)
        for key in [k for k, p in self._partition_of.items() if p == partition and k not in owned.folds]:
            self._drop(key)

    async def revoked(self, partitions: Iterable[int]) -> None:
        """Others will own these: close their streams, and wait until that is done and told.

        An outcome that still waited here would be given again by the next owner.
        """
        self._give_up(partitions)
        await self._finish_ended()
        if partitions and not await self._outcomes.drained(_HAND_OVER_S):
            _log.warning("outcomes not written before the hand-over: the next owner may repeat them")

    async def lost(self, partitions: Iterable[int], *, brokers_answer: bool) -> None:
        """Ownership ended without a hand-over.

        While brokers answer, someone else may run these streams already: close at once. While none does,
        everyone is cut off, and the streams go on until the group answers again.
        """
        partitions = list(partitions)
        if brokers_answer:
            # Whatever was in doubt after a standstill, the group has decided it now.
            self._suspended_until_s = None
            await self._lose(partitions)
            return
        for partition in partitions:
            self._owned.pop(partition, None)
            self._orphans.add(partition)
        _log.warning("group lost, no broker answers: streams go on", partitions=sorted(partitions))

    async def group_answers(self, assigned: Iterable[int]) -> None:
        """The group has spoken again: orphaned partitions that are not ours any more end here."""
        gone = self._orphans - set(assigned)
        self._orphans &= set(assigned)
        if gone:
            await self._lose(gone)

    # -- the right to publish ----------------------------------------------------------------------

    def may_publish(self, received_us: int) -> bool:
        """False when this process stood still for longer than its group session lasts."""
        if received_us <= self._sure_until_us and self._suspended_until_s is None:
            return True
        return not self._stood_still()

    def tick(self) -> None:
        """Called a few times a second: renews the right to publish, and lets streams do what is due."""
        self._stood_still()
        now_s = self._clock.monotonic_s()
        if self._suspended_until_s is not None:
            if now_s < self._suspended_until_s:
                return
            # The group has had the time to tell us that our partitions are gone, and has not.
            self._suspended_until_s = None
            self._resume_owned()
        for stream in (*self._streams.values(), *self._ended):
            stream.on_time(now_s)

    def _stood_still(self) -> bool:
        now_s = self._clock.monotonic_s()
        stood_s = now_s - self._ticked_s
        self._ticked_s = now_s
        self._sure_until_us = self._clock.epoch_us() + int(self._session_timeout_s * 500_000)
        if stood_s < self._session_timeout_s * _HEARD_OF_WITHIN:
            return self._suspended_until_s is not None
        _log.error("this process stood still: streams are closed", stood_s=round(stood_s, 1))
        self._suspended_until_s = now_s + self._session_timeout_s
        for key in list(self._streams):
            self._drop(key)
        return True

    def _resume_owned(self) -> None:
        for partition, owned in self._owned.items():
            if owned.caught_up:
                for fold in owned.folds.values():
                    self._reconcile(fold, partition)

    # -- what streams tell -------------------------------------------------------------------------

    def on_confirmed(self, scope: ConnectionScopeDomain, symbols: Iterable[str]) -> None:
        """The exchange streams these: every command that waited for them succeeded."""
        for symbol in symbols:
            self._succeed(scope.with_symbol(symbol))

    def on_refused(self, scope: ConnectionScopeDomain, symbols: Iterable[str], error: ExchangeError) -> None:
        """The exchange will not stream these: one error each, and they are withdrawn."""
        fold = self._fold_of(scope)
        if fold is None or not self._owned[self._partition(scope)].caught_up:
            # Its partition is being read anew: what the facts say of these symbols is known at the end of it.
            self._early_refusals.setdefault(scope.key, []).append((tuple(symbols), error))
            return
        running = fold.desired().symbols
        for symbol in symbols:
            narrow = scope.with_symbol(symbol)
            waiting = self._pending.pop(narrow.key, None)
            if waiting is None and symbol in running:
                waiting = [_Pending(running[symbol].offset, running[symbol].subscription.correlation_id)]
            self._withdraw(fold, narrow, error, waiting or ())
        self._reconcile(fold, self._partition(scope))

    # -- looking in --------------------------------------------------------------------------------

    @property
    def streams(self) -> Mapping[str, Stream]:
        """Running streams by scope key."""
        return self._streams

    @property
    def partitions(self) -> list[int]:
        """The partitions of ``ws.streams`` that are ours."""
        return sorted(self._owned)

    @property
    def ready(self) -> bool:
        """Whether every partition of ours has been read to its end."""
        return all(owned.caught_up for owned in self._owned.values())

    async def close(self) -> None:
        """Close every stream and wait until their sockets are closed."""
        for key in list(self._streams):
            self._drop(key)
        await self._finish_ended()

    def take_ended(self) -> list[Stream]:
        """Streams that ended since the last call, whose figures want a last report."""
        ended = [s for s in self._ended if s.quiet]
        self._ended = [s for s in self._ended if not s.quiet]
        for stream in ended:
            stream.finish()
        return ended

    # -- inside ------------------------------------------------------------------------------------

    def _give_up(self, partitions: Iterable[int]) -> list[str]:
        """Let go of partitions; the keys of the scopes that stood in them."""
        partitions = sorted(partitions)
        if partitions:
            _log.info("partitions given up", partitions=partitions)
        keys: list[str] = []
        for partition in partitions:
            owned = self._owned.pop(partition, None)
            running = [k for k, p in self._partition_of.items() if p == partition]
            keys += {*running, *(owned.folds if owned else ())}
            for key in running:
                self._drop(key)
        return keys

    async def _lose(self, partitions: Iterable[int]) -> None:
        """Someone else may own these already, and gives the outcomes that we have not given."""
        self._outcomes.forget(self._give_up(partitions))
        await self._finish_ended()

    def _begin(self, fold: ScopeFold, partition: int) -> None:
        """Run a scope whose facts have all been told, and give the outcomes that are still due."""
        key = fold.scope.key
        desired = fold.desired()
        self._forget_pending(key)
        self._settle_passed(desired)
        for symbol, wanted in desired.symbols.items():
            if wanted.outcome_due:
                self._await_outcome(fold.scope.with_symbol(symbol), wanted.subscription, wanted.offset)
        self._reconcile(fold, partition)
        self._settle_ended(fold)
        self._succeed_live(fold.scope, desired.symbols)
        if desired.symbols:
            _log.info("stream resumed", scope=key, symbols=len(desired.symbols))
        for symbols, error in self._early_refusals.pop(key, ()):
            self.on_refused(fold.scope, symbols, error)

    def _take_live(self, fold: ScopeFold, fact: Fact, offset: int, unsettled: dict[str, _Unsettled]) -> None:
        """A fact came in on a running partition: note what is to be run, give the outcomes that are due."""
        scope = fold.scope
        rest = unsettled.get(scope.key)
        match fact:
            case SubscribeFact(narrow, subscription):
                fold.apply(fact, offset)
                if fold.wants(subscription.symbol):
                    self._await_outcome(narrow, subscription, offset)
                unsettled.setdefault(scope.key, _Unsettled(fold)).subscribed[subscription.symbol] = None
            case EndFact(narrow, ending):
                if rest is not None and narrow.symbol in rest.subscribed:
                    # The connect just before it may have succeeded, on a symbol that was live already.
                    self._settle(rest)
                fold.apply(fact, offset)
                self._supersede(narrow)
                if ending is not None:
                    self._end_succeeded(fold, Ended(narrow.symbol, ending, offset))
                unsettled.setdefault(scope.key, _Unsettled(fold))
            case StopFact():
                if rest is not None:
                    self._settle(unsettled.pop(scope.key))
                before = fold.desired()
                fold.apply(fact, offset)
                for symbol in before.symbols:
                    self._supersede(scope.with_symbol(symbol))
                self._reconcile(fold, self._partition(scope))
                self._settle_ended(fold)
            case OutcomeFact(_, outcome) if not outcome.refused:
                fold.apply(fact, offset)
            case _:
                fold.apply(fact, offset)
                unsettled.setdefault(scope.key, _Unsettled(fold))

    def _settle(self, rest: _Unsettled) -> None:
        """Run what the facts so far say; what runs already is acknowledged."""
        scope = rest.fold.scope
        self._reconcile(rest.fold, self._partition(scope))
        self._succeed_live(scope, rest.subscribed)
        rest.subscribed.clear()

    def _settle_ended(self, fold: ScopeFold) -> None:
        """Outcomes of ends that have none yet: one a symbol, or one for a stop of a stream without any."""
        desired = fold.desired()
        stop = desired.stop_due
        for end in desired.ended:
            self._end_succeeded(fold, end)
        if stop is not None:
            said = {end.offset for end in desired.ended} | {owed.offset for owed in desired.passed}
            if stop.offset not in said:
                self._end_succeeded(fold, stop)
            else:
                self._outcomes.settled(desired.scope, stop.offset)
                fold.apply(OutcomeFact(desired.scope, Outcome(stop.offset)), -1)

    def _settle_passed(self, desired: DesiredStream) -> None:
        """Outcomes of commands that a later one has passed before anyone could say them."""
        ends = [(owed.symbol, owed.offset) for owed in desired.passed if isinstance(owed.command, Ending)]
        ends += [(end.symbol, end.offset) for end in desired.ended]
        for owed in desired.passed:
            narrow = desired.scope if owed.symbol is None else desired.scope.with_symbol(owed.symbol)
            correlation_id = owed.command.correlation_id
            if isinstance(owed.command, Ending):
                self._outcomes.succeeded(
                    "disconnect_success", narrow, offset=owed.offset, correlation_id=correlation_id
                )
                continue
            self._pending.setdefault(narrow.key, []).append(_Pending(owed.offset, correlation_id))
            if any(symbol == owed.symbol and offset > owed.offset for symbol, offset in ends):
                self._supersede(narrow)

    def _end_succeeded(self, fold: ScopeFold, end: Ended) -> None:
        scope = fold.scope if end.symbol is None else fold.scope.with_symbol(end.symbol)
        fold.apply(OutcomeFact(scope, Outcome(end.offset)), -1)
        self._outcomes.succeeded(
            "disconnect_success", scope, offset=end.offset, correlation_id=end.ending.correlation_id
        )

    def _reconcile(self, fold: ScopeFold, partition: int) -> None:
        """Make the stream of one scope run what its facts say."""
        if self._suspended_until_s is not None:
            return
        desired = fold.desired()
        if desired.displaced:
            self._refuse_displaced(fold, desired.displaced)
            desired = fold.desired()
        scope = desired.scope
        stream = self._streams.get(scope.key)
        if not desired.symbols:
            if stream is not None:
                self._drop(scope.key)
            return
        if stream is None:
            profile = self._profiles.get(scope.exchange)  # type: ignore[call-overload]  # a str equal to the member
            if profile is None:
                _log.error("no such exchange here", scope=scope.key)
                return
            stream = self._streams[scope.key] = Stream(scope, profile, self._parts, self)
            self._partition_of[scope.key] = partition
        stream.run(
            desired.symbols,
            desired.settings,
            {symbol: wanted.subscription.projection for symbol, wanted in desired.symbols.items()},
            proven=[symbol for symbol, wanted in desired.symbols.items() if not wanted.outcome_due],
        )

    def _refuse_displaced(self, fold: ScopeFold, displaced: Mapping[str, Wanted]) -> None:
        for symbol, wanted in displaced.items():
            narrow = fold.scope.with_symbol(symbol)
            error = ExchangeError(
                f"{fold.scope.key} runs with socket_params and takes no further symbols; stop it first",
                code=ErrorCode.SUBSCRIBE_REJECTED,
            )
            waiting = self._pending.pop(narrow.key, [])
            if all(pending.offset != wanted.offset for pending in waiting):
                waiting.append(_Pending(wanted.offset, wanted.subscription.correlation_id))
            self._withdraw(fold, narrow, error, waiting)

    def _withdraw(
        self,
        fold: ScopeFold,
        narrow: ConnectionScopeDomain,
        error: ExchangeError,
        waiting: Iterable[_Pending],
    ) -> None:
        """One error for each command that waited, and the fact that takes the symbol out."""
        settled = fold.latest_offset(narrow.symbol or "")
        fold.apply(OutcomeFact(narrow, Outcome(settled, refused=True)), -1)
        for pending in waiting:
            self._outcomes.refused(
                narrow,
                error,
                offset=pending.offset,
                settled=settled,
                correlation_id=pending.correlation_id,
            )

    def _await_outcome(self, narrow: ConnectionScopeDomain, subscription: Subscription, offset: int) -> None:
        self._pending.setdefault(narrow.key, []).append(_Pending(offset, subscription.correlation_id))

    def _succeed(self, narrow: ConnectionScopeDomain) -> None:
        waiting = self._pending.pop(narrow.key, [])
        for pending in waiting:
            self._outcomes.succeeded(
                "connect_success", narrow, offset=pending.offset, correlation_id=pending.correlation_id
            )

    def _succeed_live(self, scope: ConnectionScopeDomain, symbols: Mapping[str, object]) -> None:
        stream = self._streams.get(scope.key)
        live = stream.live if stream is not None and symbols else set()
        for symbol in symbols:
            if symbol in live:
                self._succeed(scope.with_symbol(symbol))

    def _supersede(self, narrow: ConnectionScopeDomain) -> None:
        """An end came before the exchange's word: the connect commands that waited have failed."""
        for pending in self._pending.pop(narrow.key, []):
            self._outcomes.refused(
                narrow,
                OrchestratorError(
                    f"{narrow.key} was ended by a later command before the exchange confirmed it"
                ),
                offset=pending.offset,
                settled=pending.offset,
                correlation_id=pending.correlation_id,
                withdrawn=False,
            )

    def _drop(self, key: str) -> None:
        stream = self._streams.pop(key)
        self._partition_of.pop(key, None)
        self._early_refusals.pop(key, None)
        stream.cut()
        self._ended.append(stream)
        if not self._owns(key):
            self._forget_pending(key)

    def _forget_pending(self, key: str) -> None:
        for pending in [k for k in self._pending if k.startswith(key + "|")]:
            del self._pending[pending]

    async def _finish_ended(self) -> None:
        await asyncio.gather(*(stream.closed() for stream in self._ended))

    def _owns(self, key: str) -> bool:
        return any(key in owned.folds for owned in self._owned.values())

    def _fold_of(self, scope: ConnectionScopeDomain) -> ScopeFold | None:
        for owned in self._owned.values():
            fold = owned.folds.get(scope.key)
            if fold is not None:
                return fold
        return None

    def _partition(self, scope: ConnectionScopeDomain) -> int:
        return next(p for p, owned in self._owned.items() if scope.key in owned.folds)

"""Desired streams, and how the facts on ``ws.streams`` fold into them.

The topic is compacted; every fact is plain and the log's order decides. For a scope key ``K``:

========================  ==========================================  =========================================
key                       value                                       meaning
========================  ==========================================  =========================================
``K|SYMBOL``              subscription object                         this symbol shall run
``K|SYMBOL``              null, with the command's ids as headers      this symbol ends
``K#settings``            connection overrides                        how the stream connects
``K#stop``                the command's ids                           all that stands before it ends
``K|SYMBOL#outcome``      ``{"offset"}``                              up to that offset the commands on this
                                                                      symbol have had their outcome
``K|SYMBOL#refused``      ``{"offset", "reason"}``                    the same, and the exchange refuses it
``K#outcome``             ``{"offset"}``                              the same for stops of the whole stream
========================  ==========================================  =========================================

A fact counts when its offset is greater than that of the scope's latest stop. An outcome names the offset it
is about, so it never undoes a command that came in behind it, and a restart neither repeats an
acknowledgement nor tries a refused symbol again. The two have keys of their own, so that compaction cannot
drop a refusal for the sake of an acknowledgement of the same offset.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from core.identity import ConnectionScopeDomain


class StreamContextDomain(msgspec.Struct, frozen=True):
    """What a connect command asks for: canonical ``symbols`` of one scope, and overrides."""

    scope: ConnectionScopeDomain
    symbols: tuple[str, ...] | list[str]
    url: str | None = None
    socket_params: Any = None
    projection: tuple[str, ...] | list[str] | None = None
    correlation_id: str | None = None


class ConnectionStatus(StrEnum):
    """The state of a stream as others may look it up."""

    CONNECTED = "connected"
    CONNECTING = "connecting"
    DISCONNECTED = "disconnected"


class WebsocketConnectionSpecDomain(msgspec.Struct, frozen=True):
    """A stream's connection as kept in Redis; times are epoch milliseconds."""

    scope: ConnectionScopeDomain
    symbols: tuple[str, ...] | list[str]
    url: str | None = None
    status: ConnectionStatus | str = ConnectionStatus.DISCONNECTED
    connected_at_ms: int | None = None
    last_active_ms: int | None = None
    instance: str | None = None


# -- facts ---------------------------------------------------------------------------------------------


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value under ``K|SYMBOL``: ids of the command that asked, and the symbol's projection."""

    symbol: str
    ticket_id: str
    correlation_id: str | None = None
    projection: tuple[str, ...] | None = None
    issued_ms: int | None = None


class Ending(msgspec.Struct, frozen=True, omit_defaults=True):
    """The ids of the command that ended a symbol or a stream."""

    ticket_id: str
    correlation_id: str | None = None
    reason: str | None = None


class StreamSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value under ``K#settings``. ``symbols``: those that ``socket_params`` subscribes to."""

    ticket_id: str
    url: str | None = None
    socket_params: Any = None
    symbols: tuple[str, ...] = ()

    @property
    def connection(self) -> tuple[str | None, Any]:
        """What a connection is opened with; two settings equal in this are the same to it."""
        return self.url, self.socket_params


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value under ``K|SYMBOL#outcome``, or with ``refused`` (told by the key) ``K|SYMBOL#refused``."""

    offset: int
    refused: bool = False
    reason: str | None = None


class SubscribeFact(msgspec.Struct, frozen=True):
    """This symbol shall run."""

    scope: ConnectionScopeDomain
    subscription: Subscription


class EndFact(msgspec.Struct, frozen=True):
    """This symbol ends."""

    scope: ConnectionScopeDomain
    ending: Ending | None


class SettingsFact(msgspec.Struct, frozen=True):
    """How the stream connects from here on."""

    scope: ConnectionScopeDomain
    settings: StreamSettings


class StopFact(msgspec.Struct, frozen=True):
    """All that stands before it ends."""

    scope: ConnectionScopeDomain
    ending: Ending


class OutcomeFact(msgspec.Struct, frozen=True):
    """Commands on this symbol up to an offset have had their outcome."""

    scope: ConnectionScopeDomain
    outcome: Outcome


Fact = SubscribeFact | EndFact | SettingsFact | StopFact | OutcomeFact

_SETTINGS, _STOP, _OUTCOME, _REFUSED = "#settings", "#stop", "#outcome", "#refused"
_encode = msgspec.json.encode
_subscription = msgspec.json.Decoder(Subscription).decode
_settings = msgspec.json.Decoder(StreamSettings).decode
_ending = msgspec.json.Decoder(Ending).decode
_outcome = msgspec.json.Decoder(Outcome).decode


def fact_to_message(fact: Fact) -> tuple[str, bytes | None, dict[str, str]]:
    """Key, value and headers of a fact; only the end of a symbol has no value and uses headers."""
    key = fact.scope.key
    match fact:
        case SubscribeFact():
            return key, _encode(fact.subscription), {}
        case EndFact():
            ending = fact.ending
            return key, None, {} if ending is None else {"ending": _encode(ending).decode()}
        case SettingsFact():
            return key + _SETTINGS, _encode(fact.settings), {}
        case StopFact():
            return key + _STOP, _encode(fact.ending), {}
        case OutcomeFact():
            return key + (_REFUSED if fact.outcome.refused else _OUTCOME), _encode(fact.outcome), {}


def fact_from_message(key: str, value: bytes | None, headers: dict[str, str]) -> Fact | None:
    """Read a fact back; None for a tombstone that says nothing. Raises ``ValueError`` for anything else."""
    try:
        stem, mark, kind = key.partition("#")
        scope = ConnectionScopeDomain.parse(stem)
        if not mark:
            if scope.symbol is None:
                raise ValueError("a subscription's key carries its symbol")
            if value is None:
                ending = headers.get("ending")
                return EndFact(scope, _ending(ending) if ending else None)
            return SubscribeFact(scope, _subscription(value))
        if value is None:
            return None
        match mark + kind:
            case "#settings":
                return SettingsFact(scope, _settings(value))
            case "#stop":
                return StopFact(scope, _ending(value))
            case "#outcome" | "#refused":
                return OutcomeFact(scope, _outcome(value))
    except msgspec.MsgspecError as exc:
        raise ValueError(f"the fact under {key!r} cannot be read: {exc}") from exc
    raise ValueError(f"{key!r} is not a key of the desired state")


def scope_of_key(key: str) -> ConnectionScopeDomain:
    """The scope (without symbol) whose hash decides the partition of a fact with this key."""
    return ConnectionScopeDomain.parse(key.partition("#")[0]).stream


# -- the fold ------------------------------------------------------------------------------------------


class Passed(msgspec.Struct, frozen=True):
    """A command on a symbol (None: a stop of the stream) without an outcome yet, after which came another."""

    symbol: str | None
    command: Subscription | Ending
    offset: int


class _SymbolState(msgspec.Struct):
    """What the log says of one symbol: the latest fact of each kind, with its offset."""

    subscription: Subscription | None = None
    subscribed_at: int = -1
    ending: Ending | None = None
    ended_at: int = -1
    settled_at: int = -1
    refused_at: int = -1
    refusal: str | None = None
    unsettled: list[Passed] = []


class Wanted(msgspec.Struct, frozen=True):
    """One symbol that shall run, and the offset of the fact that says so."""

    subscription: Subscription
    offset: int
    outcome_due: bool


class Ended(msgspec.Struct, frozen=True):
    """A symbol (None: the stream) that ended, whose command has not had its outcome yet."""

    symbol: str | None
    ending: Ending
    offset: int


class DesiredStream(msgspec.Struct, frozen=True):
    """What one scope should run now.

    ``displaced`` are symbols that a ``socket_params`` stream cannot take, ``passed`` are commands that change
    nothing any more and are still owed their outcome, as far as the log has kept them.
    """

    scope: ConnectionScopeDomain
    symbols: dict[str, Wanted]
    ended: tuple[Ended, ...]
    settings: StreamSettings | None
    displaced: dict[str, Wanted]
    stop_due: Ended | None = None
    passed: tuple[Passed, ...] = ()


class ScopeFold:
    """The facts of one scope, in the order of their offsets, as one desired stream."""

    def __init__(self, scope: ConnectionScopeDomain) -> None:
        self.scope = scope
        self._symbols: dict[str, _SymbolState] = {}
        self._settings: StreamSettings | None = None
        self._settings_at = -1
        self._stop: Ending | None = None
        self._stop_at = -1
        self._stop_settled_at = -1
        self._stop_ended_any = False
        self._passed_stops: list[Passed] = []

    def apply(self, fact: Fact, offset: int) -> None:
        """Take in one fact; facts with offsets already seen change nothing that matters."""
        match fact:
            case SubscribeFact():
                state = self._state(fact.scope)
                state.subscription, state.subscribed_at = fact.subscription, offset
                self._owe(state, fact.scope, fact.subscription, offset)
            case EndFact():
                state = self._state(fact.scope)
                state.ending, state.ended_at = fact.ending, offset
                if fact.ending is not None:
                    self._owe(state, fact.scope, fact.ending, offset)
            case SettingsFact():
                self._settings, self._settings_at = fact.settings, offset
            case StopFact():
                if self._stop is not None and not self._stop_ended_any and self._due_stop() is not None:
                    self._passed_stops.append(Passed(None, self._stop, self._stop_at))
                self._stop_ended_any = False
                for name, state in self._symbols.items():
                    if state.subscribed_at > max(self._stop_at, state.ended_at, state.refused_at):
                        self._owe(state, fact.scope.with_symbol(name), fact.ending, offset)
                        self._stop_ended_any = True
                self._stop, self._stop_at = fact.ending, offset
            case OutcomeFact() if fact.scope.symbol is None:
                settled_at = self._stop_settled_at = max(self._stop_settled_at, fact.outcome.offset)
                self._passed_stops = [owed for owed in self._passed_stops if owed.offset > settled_at]
            case OutcomeFact():
                state = self._state(fact.scope)
                state.settled_at = max(state.settled_at, fact.outcome.offset)
                state.unsettled = [owed for owed in state.unsettled if owed.offset > state.settled_at]
                if fact.outcome.refused:
                    state.refused_at = max(state.refused_at, fact.outcome.offset)
                    state.refusal = fact.outcome.reason

    def desired(self) -> DesiredStream:
        """What the facts so far say should run."""
        settings = self._settings if self._settings_at > self._stop_at else None
        takes_all = settings is None or settings.socket_params is None
        symbols: dict[str, Wanted] = {}
        displaced: dict[str, Wanted] = {}
        ended: list[Ended] = []
        passed = list(self._passed_stops)
        for name, state in self._symbols.items():
            floor = max(self._stop_at, state.ended_at, state.refused_at)
            if state.subscription is not None and state.subscribed_at > floor:
                wanted = Wanted(state.subscription, state.subscribed_at, state.subscribed_at > state.settled_at)
                fits = takes_all or (settings is not None and name in settings.symbols)
                (symbols if fits else displaced)[name] = wanted
                passed.extend(owed for owed in state.unsettled if owed.offset != wanted.offset)
                continue
            end = self._due_ending(name, state)
            if end is not None:
                ended.append(end)
            passed.extend(owed for owed in state.unsettled if end is None or owed.offset != end.offset)
        return DesiredStream(
            self.scope,
            symbols,
            tuple(ended),
            settings,
            displaced,
            self._due_stop(),
            tuple(sorted(passed, key=lambda owed: owed.offset)),
        )

    def wants(self, symbol: str) -> bool:
        """Whether ``symbol`` shall run, or would if the settings had room for it."""
        state = self._symbols.get(symbol)
        return state is not None and state.subscribed_at > max(self._stop_at, state.ended_at, state.refused_at)

    def latest_offset(self, symbol: str) -> int:
        """The offset of the last command fact that concerns ``symbol`` (-1: none)."""
        state = self._symbols.get(symbol)
        own = max(state.subscribed_at, state.ended_at) if state else -1
        return max(own, self._stop_at)

    def _due_ending(self, name: str, state: _SymbolState) -> Ended | None:
        """The end of ``name`` that still wants its outcome, if there is one."""
        if state.ended_at > max(state.settled_at, self._stop_at) and state.ending is not None:
            return Ended(name, state.ending, state.ended_at)
        ran = state.subscription is not None and state.subscribed_at > max(state.ended_at, state.refused_at)
        end_is_settled = state.settled_at > state.subscribed_at
        if ran and not end_is_settled and self._stop is not None and self._stop_at > state.subscribed_at:
            return Ended(name, self._stop, self._stop_at)
        return None

    def _owe(
        self, state: _SymbolState, scope: ConnectionScopeDomain, command: Subscription | Ending, offset: int
    ) -> None:
        if offset > state.settled_at:
            state.unsettled.append(Passed(scope.symbol, command, offset))

    def _due_stop(self) -> Ended | None:
        if self._stop is None or self._stop_at <= self._stop_settled_at:
            return None
        return Ended(None, self._stop, self._stop_at)

    def _state(self, scope: ConnectionScopeDomain) -> _SymbolState:
        assert scope.symbol is not None, "a fact about a symbol names it"
        return self._symbols.setdefault(scope.symbol, _SymbolState())


def fold(facts: Iterable[tuple[int, Fact]]) -> dict[str, ScopeFold]:
    """Fold a whole log, given as (offset, fact) in order; the result is by scope key."""
    folds: dict[str, ScopeFold] = {}
    for offset, fact in facts:
        scope = fact.scope.stream
        folds.setdefault(scope.key, ScopeFold(scope)).apply(fact, offset)
    return folds

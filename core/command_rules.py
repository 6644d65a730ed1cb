"""What a well-formed command must also satisfy: a served exchange, its region, its symbols, an allowed URL."""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from core.commands import CommandDTO, ConnectionTargetDTO, DisconnectCommandDTO
from core.errors import CommandError, ErrorCode
from core.exchanges.base import ExchangeProfile
from core.identity import ConnectionScopeDomain, Exchange, RequestType, Symbol
from core.projection import RECORD_OF
from core.streams import (
    EndFact,
    Ending,
    Fact,
    OutcomeFact,
    SettingsFact,
    StopFact,
    StreamContextDomain,
    StreamSettings,
    SubscribeFact,
    Subscription,
)

Profiles = Mapping[Exchange, ExchangeProfile]

_MAX_NAMED = 10
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f\\#]")
"""Python's parser drops or passes over some of these; a WebSocket URL has none (RFC 6455, section 3)."""


def resolve_scope(target: ConnectionTargetDTO, profiles: Profiles) -> ConnectionScopeDomain:
    """The scope a target names; raises ``CommandError`` for an exchange, region or type that is not served."""
    served = ", ".join(sorted(profiles))
    profile = profiles.get(target.exchange)  # type: ignore[call-overload]  # a str equal to the enum's member
    if profile is None:
        raise CommandError(
            f"exchange {target.exchange!r} is not served here; served: {served}",
            code=ErrorCode.UNKNOWN_EXCHANGE,
        )
    if target.region is not None and target.region != profile.region:
        raise CommandError(
            f"region {target.region!r} does not belong to {target.exchange}: it is {profile.region.value!r}, "
            "or leave it out",
            code=ErrorCode.INVALID_SCHEMA,
        )
    if target.request_type not in profile.request_types:
        types = ", ".join(sorted(profile.request_types))
        raise CommandError(
            f"request_type {target.request_type!r} is not one of {types}",
            code=ErrorCode.UNSUPPORTED_REQUEST_TYPE,
        )
    return ConnectionScopeDomain(profile.exchange.value, profile.region.value, target.request_type)


def resolve_symbols(texts: Sequence[str], profile: ExchangeProfile) -> tuple[str, ...]:
    """Canonical symbols in the order given, each once; raises ``CommandError`` naming those not understood."""
    symbols: dict[str, None] = {}
    wrong: list[str] = []
    for text in texts:
        try:
            symbols[str(profile.parse_symbol(text))] = None
        except ValueError as exc:
            wrong.append(f"{text[:64]!r} ({exc})")
    if wrong:
        more = f" and {len(wrong) - _MAX_NAMED} more" if len(wrong) > _MAX_NAMED else ""
        raise CommandError(
            f"not a symbol of {profile.exchange}: {'; '.join(wrong[:_MAX_NAMED])}{more}; "
            "give BASE-QUOTE or the exchange's own spelling",
            code=ErrorCode.UNKNOWN_SYMBOL,
        )
    return tuple(symbols)


def check_url(url: str, profile: ExchangeProfile, allowed: Sequence[str]) -> str:
    """``url`` itself when it is a WebSocket URL on an allowed host; raises ``CommandError`` otherwise.

    ``allowed`` are further hosts, as ``host`` or ``host:port``. A host that the exchange itself names needs
    ``wss``; one that the settings name may be ``ws``, as a simulator's is.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        readable = not _NOT_IN_URLS.search(url)
    except ValueError:
        host, port, parts, readable = "", None, urlsplit(""), False
    extra = {host, f"{host}:{port}"} & set(allowed)
    own = host in profile.allowed_hosts
    if not readable:
        reason = "it cannot be read as a WebSocket URL (a space, a fragment, a port that is none?)"
    elif parts.scheme in ("wss", "ws") and host and (extra or (own and parts.scheme == "wss")):
        if parts.username is None and parts.password is None:
            return url
        reason = "it carries user information"
    elif parts.scheme not in ("wss", "ws"):
        reason = f"its scheme is {parts.scheme or 'missing'}, not wss"
    elif own:
        reason = "this host is allowed with wss only"
    else:
        reason = f"host {host or 'missing'} is not on the allow-list of {profile.exchange}"
    raise CommandError(
        f"connection.url is refused: {reason}; allowed hosts: "
        f"{', '.join(sorted({*profile.allowed_hosts, *allowed}))}",
        code=ErrorCode.URL_NOT_ALLOWED,
    )


def check_projection(fields: Sequence[str], request_type: str) -> tuple[str, ...]:
    """The field names themselves; raises ``CommandError`` for one that the record does not have."""
    known = RECORD_OF[RequestType(request_type)].__struct_fields__
    wrong = sorted(set(fields) - set(known))
    if wrong:
        raise CommandError(
            f"projection names unknown fields: {', '.join(wrong[:_MAX_NAMED])}; known: {', '.join(known)}",
            code=ErrorCode.INVALID_SCHEMA,
        )
    return tuple(dict.fromkeys(fields))


def resolve_connect(
    command: CommandDTO,
    profiles: Profiles,
    *,
    now_ms: int,
    allowed_hosts: Callable[[str], Sequence[str]],
) -> StreamContextDomain:
    """What a connect command asks for, or ``CommandError`` with the code that says why it is refused.

    ``allowed_hosts(exchange)`` gives the hosts that the settings add to the exchange's own.
    """
    scope = resolve_scope(command.target, profiles)
    if command.ttl_ms is not None:
        if command.ts_issue is None:
            raise CommandError(
                "ttl_ms needs ts_issue (epoch ms), from which it counts", code=ErrorCode.MISSING_FIELD
            )
        age_ms = now_ms - command.ts_issue
        if age_ms > command.ttl_ms:
            raise CommandError(
                f"the command is {age_ms} ms old and was good for {command.ttl_ms} ms; issue it again",
                code=ErrorCode.EXPIRED,
            )
    profile = profiles[Exchange(scope.exchange)]
    symbols = resolve_symbols(command.symbols, profile)
    connection = command.connection
    url = connection.url if connection else None
    if url is not None:
        check_url(url, profile, allowed_hosts(scope.exchange))
    return StreamContextDomain(
        scope=scope,
        symbols=symbols,
        url=url,
        socket_params=connection.socket_params if connection else None,
        projection=None
        if command.projection is None
        else check_projection(command.projection, scope.request_type),
        correlation_id=command.correlation_id or command.ticket_id,
    )


def resolve_disconnect(
    command: DisconnectCommandDTO, profiles: Profiles
) -> tuple[ConnectionScopeDomain, tuple[str, ...] | None]:
    """The scope and the canonical symbols to end (None: the whole stream), or ``CommandError``."""
    scope = resolve_scope(command.target, profiles)
    if command.symbols is None:
        return scope, None
    return scope, resolve_symbols(command.symbols, profiles[Exchange(scope.exchange)])


def connect_facts(context: StreamContextDomain, *, ticket_id: str, now_ms: int) -> list[Fact]:
    """The facts that a connect command adds to the log, settings first."""
    facts: list[Fact] = []
    stream = context.scope.stream
    if context.url is not None or context.socket_params is not None:
        own = () if context.socket_params is None else tuple(context.symbols)
        settings = StreamSettings(ticket_id, context.url, context.socket_params, own)
        facts.append(SettingsFact(stream, settings))
    projection = None if context.projection is None else tuple(context.projection)
    facts.extend(
        SubscribeFact(
            stream.with_symbol(symbol),
            Subscription(symbol, ticket_id, context.correlation_id, projection, now_ms),
        )
        for symbol in context.symbols
    )
    return facts


def disconnect_facts(scope: ConnectionScopeDomain, symbols: Sequence[str] | None, ending: Ending) -> list[Fact]:
    """The facts that a disconnect command adds to the log."""
    if symbols is None:
        return [StopFact(scope.stream, ending)]
    return [EndFact(scope.with_symbol(symbol), ending) for symbol in symbols]


def check_fact(fact: Fact, profiles: Profiles, allowed_hosts: Sequence[str]) -> None:
    """Raise ``CommandError`` or ``ValueError`` for a fact that no command of this gateway could have written.

    Anyone with access to the topic may write to it: what the commands' judgement keeps out is kept out here
    as well. ``allowed_hosts`` are those that the settings add to the exchange's own.
    """
    scope = fact.scope
    target = ConnectionTargetDTO(exchange=scope.exchange, region=scope.region, request_type=scope.request_type)
    profile = profiles[Exchange(resolve_scope(target, profiles).exchange)]
    if scope.symbol is not None:
        Symbol.parse(scope.symbol)
    match fact:
        case SubscribeFact(_, subscription):
            if subscription.symbol != scope.symbol:
                raise ValueError(
                    f"the value is about {subscription.symbol[:64]!r}, its key about {scope.symbol!r}"
                )
            check_projection(subscription.projection or (), scope.request_type)
        case SettingsFact(_, settings):
            _has_no_symbol(scope)
            for symbol in settings.symbols:
                Symbol.parse(symbol)
            if settings.url is not None:
                check_url(settings.url, profile, allowed_hosts)
        case StopFact():
            _has_no_symbol(scope)
        case OutcomeFact(_, outcome) if outcome.refused and scope.symbol is None:
            raise ValueError("a refusal's key carries its symbol")


def _has_no_symbol(scope: ConnectionScopeDomain) -> None:
    if scope.symbol is not None:
        raise ValueError(f"this kind of fact is about a whole stream, its key about {scope.symbol!r}")

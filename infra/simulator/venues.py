"""The simulated exchanges, by name: every one that is served. A new one is a line here."""

from typing import Final

from infra.simulator.binance import BinanceVenue
from infra.simulator.bitfinex import BitfinexVenue
from infra.simulator.bithumb import BithumbVenue
from infra.simulator.bybit import BybitVenue
from infra.simulator.coinbase import CoinbaseVenue
from infra.simulator.coinone import CoinoneVenue
from infra.simulator.huobi import HuobiVenue
from infra.simulator.korbit import KorbitVenue
from infra.simulator.kraken import KrakenVenue
from infra.simulator.okx import OkxVenue
from infra.simulator.upbit import UpbitVenue
from infra.simulator.venue import Venue

VENUES: Final[dict[str, type[Venue]]] = {
    "binance": BinanceVenue,
    "bitfinex": BitfinexVenue,
    "bithumb": BithumbVenue,
    "coinone": CoinoneVenue,
    "korbit": KorbitVenue,
    "bybit": BybitVenue,
    "huobi": HuobiVenue,
    "okx": OkxVenue,
    "coinbase": CoinbaseVenue,
    "kraken": KrakenVenue,
    "upbit": UpbitVenue,
}

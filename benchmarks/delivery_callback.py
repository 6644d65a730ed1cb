"""What the age of the oldest unacknowledged record costs: a global delivery callback against shared receipts.

Run from the repository's root: ``python -m benchmarks.delivery_callback``. Mock cluster, so ratios count.
"""

import threading
import time
from typing import Any

from confluent_kafka import Producer

from infra.messaging.clients.delivery_book import DeliveryBook

RECORDS = 150_000
VALUE = b"x" * 118


class Counter:
    """The plain alternative: one callback for everything, counts alone."""

    def __init__(self) -> None:
        self.settled = 0

    def __call__(self, _error: Any, _message: Any) -> None:
        self.settled += 1


def measure(bootstrap: str, *, receipts: bool) -> tuple[float, float]:
    """CPU microseconds per record: of the producing thread, of the process."""
    counter, book = Counter(), DeliveryBook()
    config: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "linger.ms": 5,
        "batch.size": 128 * 1024,
        "compression.type": "lz4",
        "queue.buffering.max.messages": 1_000_000,
    }
    if not receipts:
        config["on_delivery"] = counter
    producer = Producer(config)
    producer.list_topics("benchmark", timeout=10)
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            producer.poll(0.1)

    thread = threading.Thread(target=poll)
    thread.start()
    process_s, thread_s = time.process_time(), time.thread_time()
    if receipts:
        for number in range(RECORDS):
            receipt = book.receipt(None, time.monotonic())
            receipt.opened += 1
            producer.produce("benchmark", VALUE, b"k", number % 4, receipt)
    else:
        for number in range(RECORDS):
            producer.produce("benchmark", VALUE, b"k", number % 4)
    thread_s = time.thread_time() - thread_s
    while len(producer):
        time.sleep(0.005)
    process_s = time.process_time() - process_s
    done.set()
    thread.join()
    return 1e6 * thread_s / RECORDS, 1e6 * process_s / RECORDS


def main() -> None:
    """Three runs of each."""
    keeper = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
    found = keeper.list_topics(timeout=10).brokers.values()
    bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in found)
    for _ in range(3):
        for receipts in (False, True):
            produce_us, process_us = measure(bootstrap, receipts=receipts)
            name = "receipts" if receipts else "global"
            print(f"{name:8} produce {produce_us:.2f} us, process {process_us:.2f} us a record")  # noqa: T201


if __name__ == "__main__":
    main()

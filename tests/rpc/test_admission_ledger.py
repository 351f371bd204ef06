"""The ledger of admission in every state, under every input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_grpc.rpc.admission import AdmissionLimits, Entry, Ledger, Place

KB = 1024
# Room for two reservations, and one read without.
LIMITS = AdmissionLimits(
    max_calls=4, max_queued=2, queue_seconds=30, max_bytes=200 * KB, max_request_bytes=100 * KB, unreserved_reads=1
)


def ledger(limits: AdmissionLimits = LIMITS) -> tuple[Ledger, list[Entry]]:
    admitted: list[Entry] = []
    return Ledger(limits, admitted.append), admitted


def arrived(book: Ledger) -> Entry:
    entry = book.arrive()
    assert entry is not None
    return entry


def queued(book: Ledger) -> Entry:
    while (entry := arrived(book)).place is not Place.QUEUED:
        pass
    return entry


def reserved(book: Ledger) -> Entry:
    return arrived(book)


def unreserved(book: Ledger) -> Entry:
    first, second, third = arrived(book), arrived(book), arrived(book)
    assert (first.place, second.place) == (Place.RESERVED, Place.RESERVED)
    return third


def holding(book: Ledger) -> Entry:
    entry = arrived(book)
    assert book.hold(entry, 80 * KB)
    return entry


def freed(book: Ledger) -> Entry:
    entry = holding(book)
    book.free(entry)
    return entry


def left(book: Ledger) -> Entry:
    entry = arrived(book)
    book.leave(entry)
    return entry


STATES: dict[Place, Callable[[Ledger], Entry]] = {
    Place.QUEUED: queued,
    Place.RESERVED: reserved,
    Place.UNRESERVED: unreserved,
    Place.HOLDING: holding,
    Place.FREED: freed,
    Place.LEFT: left,
}
INPUTS: dict[str, Callable[[Ledger, Entry], Any]] = {
    "reserve": lambda book, entry: book.reserve(entry),
    "hold": lambda book, entry: book.hold(entry, 90 * KB),
    "hold little": lambda book, entry: book.hold(entry, 10),
    "hold nothing": lambda book, entry: book.hold(entry, 0),
    "free": lambda book, entry: book.free(entry),
    "leave": lambda book, entry: book.leave(entry),
}
# What an input answers, and where it leads; all others change nothing.
MOVES = {
    (Place.RESERVED, "reserve"): (True, Place.RESERVED),
    (Place.RESERVED, "hold"): (True, Place.HOLDING),
    (Place.RESERVED, "hold little"): (True, Place.HOLDING),
    (Place.RESERVED, "hold nothing"): (True, Place.HOLDING),
    (Place.UNRESERVED, "hold little"): (True, Place.HOLDING),
    (Place.UNRESERVED, "hold nothing"): (True, Place.HOLDING),
    (Place.HOLDING, "hold"): (True, Place.HOLDING),
    (Place.HOLDING, "hold little"): (True, Place.HOLDING),
    (Place.HOLDING, "hold nothing"): (True, Place.HOLDING),
    (Place.HOLDING, "free"): (None, Place.FREED),
    **{(state, "leave"): (None, Place.LEFT) for state in Place},
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("state", Place)
def test_every_input_in_every_state(state: Place, name: str) -> None:
    book, _ = ledger()
    entry = STATES[state](book)
    assert entry.place is state
    unchanged = None if name in {"free", "leave"} else False
    answer, place = MOVES.get((state, name), (unchanged, state))
    assert INPUTS[name](book, entry) == answer
    assert entry.place is place


def test_an_unreserved_reader_gets_a_reservation_as_soon_as_one_is_free() -> None:
    book, _ = ledger()
    first, _, third = arrived(book), arrived(book), arrived(book)
    assert not book.reserve(third)
    book.leave(first)
    assert book.reserve(third)
    assert book.hold(third, 90 * KB)


def test_a_large_request_without_a_reservation_stays_if_there_is_room_when_it_has_come() -> None:
    book, _ = ledger()
    first, _, third = arrived(book), arrived(book), arrived(book)
    assert not book.hold(third, 90 * KB)
    book.leave(first)
    assert book.hold(third, 90 * KB)


def test_what_takes_the_place_of_another_is_charged_instead_of_it() -> None:
    book, _ = ledger()
    first, second = holding(book), holding(book)
    assert book.bytes == 160 * KB
    assert book.hold(first, 120 * KB)
    assert not book.hold(second, 81 * KB)
    assert (second.place, book.bytes) == (Place.HOLDING, 200 * KB)
    assert book.hold(first, 0)
    assert book.hold(second, 200 * KB)
    assert not book.hold(first, 65 * KB)


def test_who_holds_nothing_any_more_lets_others_in() -> None:
    book, admitted = ledger()
    first, _, _ = arrived(book), arrived(book), arrived(book)
    waiting = arrived(book)
    assert waiting.place is Place.QUEUED
    book.hold(first, 0)
    assert admitted == [waiting]
    assert waiting.place is Place.RESERVED


def test_the_first_in_the_queue_is_the_first_out() -> None:
    book, admitted = ledger(AdmissionLimits(max_calls=1, max_queued=3))
    running = arrived(book)
    first, second, third = arrived(book), arrived(book), arrived(book)
    assert book.arrive() is None
    book.leave(second)
    book.leave(running)
    assert admitted == [first]
    book.leave(first)
    assert admitted == [first, third]
    assert book.queued == ()


def test_nobody_overtakes_the_queue() -> None:
    book, admitted = ledger(AdmissionLimits(max_calls=1, max_queued=3))
    running, waiting = arrived(book), arrived(book)
    book.leave(running)
    assert admitted == [waiting]
    assert arrived(book).place is Place.QUEUED


@given(st.lists(st.tuples(st.sampled_from(["arrive", *INPUTS]), st.integers(0, 20)), max_size=120))
def test_whatever_happens_the_books_balance(steps: list[tuple[str, int]]) -> None:
    book, admitted = ledger()
    entries: list[Entry] = []
    for name, index in steps:
        if name == "arrive":
            entry = book.arrive()
            entries += [entry] if entry else []
        elif entries:
            INPUTS[name](book, entries[index % len(entries)])
        places = Counter(entry.place for entry in entries)
        inside = [entry for entry in entries if entry.place not in {Place.QUEUED, Place.LEFT}]
        assert book.calls == len(inside) <= LIMITS.max_calls
        assert book.bytes == sum(entry.size for entry in entries) <= LIMITS.max_bytes
        assert book.unreserved == places[Place.UNRESERVED] <= LIMITS.unreserved_reads
        assert [entry for entry in entries if entry.place is Place.QUEUED] == list(book.queued)
        assert len(book.queued) + book.calls <= LIMITS.max_calls + LIMITS.max_queued
        # Whoever waits does so for a reason: no call may run, or none may read.
        if book.queued:
            full = book.bytes + LIMITS.max_request_bytes > LIMITS.max_bytes
            assert book.calls == LIMITS.max_calls or (full and book.unreserved == LIMITS.unreserved_reads)
    for entry in entries:
        book.leave(entry)
    assert (book.calls, book.bytes, book.unreserved, book.queued) == (0, 0, 0, ())
    assert len(set(map(id, admitted))) == len(admitted)

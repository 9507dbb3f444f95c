"""Stop strings, against a comparison of each with the end of the text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cellwire.server.session.stops import Stop, Stops

tokens = st.integers(0, 2)


@given(
    stops=st.lists(st.lists(tokens, min_size=1, max_size=5).map(tuple), min_size=1, max_size=5),
    text=st.lists(tokens, max_size=40),
)
def test_the_longest_stop_string_is_found_where_it_ends(stops: list[Stop], text: list[int]) -> None:
    automaton = Stops(stops)
    for end in range(1, len(text) + 1):
        text_so_far = tuple(text[:end])
        ended = [stop for stop in stops if text_so_far[-len(stop) :] == stop]
        assert automaton.feed(text[end - 1]) == max(ended, key=len, default=None)
        begun = [
            length
            for stop in stops
            for length in range(len(stop) + 1)
            if length <= end and stop[:length] == text_so_far[end - length :]
        ]
        assert automaton.begun == max(begun)

"""Up to where a session is safe, as the store's revisions advance."""

from __future__ import annotations

from cellwire.server.host.safe_revisions import SafePoint, SafeRevisions


def test_nothing_is_safe_before_the_store_says_so() -> None:
    safe = SafeRevisions()
    assert safe.point is None
    assert not safe.all
    safe.advance(0)
    assert safe.point == SafePoint(0, 0)
    assert safe.all


def test_the_safe_point_is_that_of_the_last_safe_revision() -> None:
    safe = SafeRevisions()
    for revision, offset in ((1, 10), (2, 4), (3, 9)):
        safe.add(revision, offset)
    safe.advance(2)
    assert safe.point == SafePoint(2, 4)
    assert not safe.all
    safe.advance(3)
    assert safe.point == SafePoint(3, 9)
    assert safe.all


def test_a_revision_that_is_safe_stays_safe() -> None:
    safe = SafeRevisions()
    safe.add(1, 10)
    safe.advance(1)
    safe.advance(0)
    assert (safe.revision, safe.point) == (1, SafePoint(1, 10))


def test_a_slow_store_costs_little_memory() -> None:
    """Then the safe point may be an earlier one, which is safe as well."""
    safe = SafeRevisions()
    for revision in range(1, 1_000_001):
        safe.add(revision, 10 * revision)
    assert len(safe._waiting) <= 1_024
    safe.advance(500_000)
    assert safe.revision == 500_000
    assert safe.point is not None
    assert safe.point.revision <= 500_000
    assert safe.point.offset == 10 * safe.point.revision
    safe.advance(1_000_000)
    assert safe.point == SafePoint(1_000_000, 10_000_000)
    assert safe.all

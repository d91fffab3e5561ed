"""Generated orders: the same every time, of the days that were asked for, and consistent in themselves."""

from datetime import UTC, date, datetime

import pytest

from arrow_ingest.producer.orders import ORDER_SCHEMA, OrderGenerator

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_batch_is_the_same_whenever_it_is_made_and_differs_from_the_next() -> None:
    first, again = OrderGenerator(3, now=NOW), OrderGenerator(3, now=NOW)
    assert first.batch(5, 20).equals(again.batch(5, 20))
    assert not first.batch(5, 20).equals(first.batch(6, 20))
    assert not first.batch(5, 20).equals(OrderGenerator(4, now=NOW).batch(5, 20))


def test_batches_have_their_schema_valid_rows_and_a_total_that_is_the_sum_of_the_items() -> None:
    batch = OrderGenerator(3, now=NOW).batch(0, 50)
    batch.validate(full=True)
    assert (batch.schema, batch.num_rows) == (ORDER_SCHEMA, 50)
    for order in batch.to_pylist():
        assert order["total"] == sum(item["quantity"] * item["price"] for item in order["items"])


@pytest.mark.parametrize(("index", "day"), [(0, date(2026, 11, 20)), (1, date(2026, 11, 19)), (3, date(2026, 11, 20))])
def test_a_batch_is_of_one_day_and_never_later_than_now(index: int, day: date) -> None:
    times = OrderGenerator(3, now=NOW, days=3).batch(index, 50).column("placed_at").to_pylist()
    assert {time.date() for time in times} == {day}
    assert max(times) <= NOW


def test_what_cannot_be_generated_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        OrderGenerator(3, now=datetime(2026, 11, 20))  # noqa: DTZ001
    with pytest.raises(ValueError, match="one day"):
        OrderGenerator(3, now=NOW, days=0)

"""Generated events: the same from the same seed, of the promised shape and size, on the promised days."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrow_ingest.producer.events import EVENT_SCHEMA, EventGenerator

NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=NOW)


def days(batch: pa.RecordBatch) -> set[str]:
    return {text[:10] for text in batch["timestamp"].to_pylist()}


def test_a_batch_is_made_again_from_its_number_alone(generator: EventGenerator):
    in_order = [generator.batch(index, 100) for index in range(4)]
    another = EventGenerator(seed=7, now=NOW)

    assert another.batch(3, 100).equals(in_order[3])
    assert another.batch(1, 100).equals(in_order[1])


def test_other_seeds_and_other_numbers_make_other_rows(generator: EventGenerator):
    batches = [generator.batch(0), generator.batch(1), EventGenerator(seed=8, now=NOW).batch(0)]

    uuids = [uuid for batch in batches for uuid in batch["uuid"].to_pylist()]
    assert len(set(uuids)) == len(uuids) == 3_000


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(0, 3_000))
def test_a_batch_has_as_many_rows_as_asked_for(generator: EventGenerator, rows: int):
    batch = generator.batch(5, rows)

    batch.validate(full=True)
    assert (batch.num_rows, batch.schema) == (rows, EVENT_SCHEMA)


def test_a_thousand_rows_make_a_stream_of_about_1100_kb(generator: EventGenerator):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, EVENT_SCHEMA) as writer:
        writer.write_batch(generator.batch(0))

    assert 1_050_000 < sink.getvalue().size < 1_200_000


def test_elements_chain_is_null_unless_the_event_is_an_autocapture(generator: EventGenerator):
    batch = generator.batch(0)

    clicked = pc.equal(batch["event"], "$autocapture")
    assert pc.is_valid(batch["elements_chain"]).equals(clicked)
    assert 0 < pc.sum(clicked).as_py() < batch.num_rows


def test_every_kind_of_event_occurs(generator: EventGenerator):
    names = set(generator.batch(0)["event"].to_pylist())

    assert names >= {"$pageview", "$autocapture", "$identify", "$pageleave"}
    assert any(not name.startswith("$") for name in names)


def test_properties_are_json_objects_of_about_900_bytes(generator: EventGenerator):
    texts = generator.batch(0)["properties"].to_pylist()

    sizes = [len(text.encode()) for text in texts]
    assert 850 < sum(sizes) / len(sizes) < 950
    assert all({"$current_url", "$browser", "$os", "$lib", "$session_id"} <= json.loads(text).keys() for text in texts)


def test_a_session_belongs_to_one_user_and_runs_forward_in_time(generator: EventGenerator):
    sessions: dict[str, list[tuple[str, str]]] = {}
    for row in generator.batch(0).to_pylist():
        session = json.loads(row["properties"])["$session_id"]
        sessions.setdefault(session, []).append((row["distinct_id"], row["timestamp"]))

    assert len(sessions) > 10
    for events in sessions.values():
        assert len({user for user, _ in events}) == 1
        assert [time for _, time in events] == sorted(time for _, time in events)


def test_one_day_is_the_day_of_now(generator: EventGenerator):
    batch = generator.batch(0)

    assert days(batch) == {"2026-11-04"}
    assert max(batch["timestamp"].to_pylist()) <= "2026-11-04T12:00:00.000Z"


def test_batches_take_days_in_turn_and_late_sessions_are_of_older_days():
    generator = EventGenerator(seed=7, now=NOW, days=3)

    assert days(generator.batch(0)) == {"2026-11-04", "2026-11-03", "2026-11-02"}
    assert days(generator.batch(1)) == {"2026-11-03", "2026-11-02"}
    assert days(generator.batch(2)) == {"2026-11-02"}


def test_without_late_sessions_a_batch_is_of_one_day():
    generator = EventGenerator(seed=7, now=NOW, days=3, late_share=0)

    assert [days(generator.batch(index)) for index in range(3)] == [{"2026-11-04"}, {"2026-11-03"}, {"2026-11-02"}]


def test_the_first_millisecond_of_a_day_is_a_time_like_any_other():
    generator = EventGenerator(seed=7, now=datetime(2026, 11, 4, tzinfo=UTC))

    assert set(generator.batch(0, 50)["timestamp"].to_pylist()) == {"2026-11-04T00:00:00.000Z"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"now": datetime(2026, 11, 4)},  # noqa: DTZ001 - the refusal of a time without zone is the test
        {"now": NOW, "days": 0},
        {"now": NOW, "late_share": 1.5},
    ],
)
def test_a_generator_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(ValueError, match=r"zone|spread"):
        EventGenerator(seed=1, **arguments)

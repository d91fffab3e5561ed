-- Half an hour before the day is enough to say whether its first events go on with an earlier session. A session that
-- goes on after midnight is followed to the end of the next day.
WITH marked AS (
    SELECT
        distinct_id,
        event,
        timestamp,
        coalesce(timestamp - lag(timestamp) OVER of_user > INTERVAL 30 MINUTES, true) AS begins
    FROM events_arrow
    WHERE timestamp >= $start - INTERVAL 30 MINUTES AND timestamp < $stop + INTERVAL 1 DAY
    WINDOW of_user AS (PARTITION BY distinct_id ORDER BY timestamp)
), numbered AS (
    SELECT
        *,
        count(*) FILTER (begins) OVER (
            PARTITION BY distinct_id ORDER BY timestamp, begins DESC ROWS UNBOUNDED PRECEDING
        ) AS number
    FROM marked
)
SELECT
    CAST(min(timestamp) AS DATE) AS day,
    distinct_id,
    min(timestamp) AS started_at,
    max(timestamp) AS ended_at,
    CAST(date_diff('second', min(timestamp), max(timestamp)) AS BIGINT) AS seconds,
    count(*) AS events,
    count(*) FILTER (event = '$pageview') AS pageviews
FROM numbered
GROUP BY distinct_id, number
HAVING min(timestamp) >= $start AND min(timestamp) < $stop

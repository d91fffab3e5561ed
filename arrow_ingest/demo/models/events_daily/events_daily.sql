SELECT
    CAST(timestamp AS DATE) AS day,
    event,
    count(*) AS events,
    count(DISTINCT distinct_id) AS users,
    max(timestamp) AS last_at
FROM events_arrow
WHERE timestamp >= $start AND timestamp < $stop
GROUP BY ALL
ORDER BY event

-- Two databases, each owned by a role of its own, who cannot enter the other's. Run once, by PostgreSQL's image, when its
-- volume is new; by hand: psql -f databases.sql with the two variables set.
\set ON_ERROR_STOP on
-- A statement that fails is logged with its text, which holds a password here.
SET log_min_error_statement = panic;
SET log_statement = none;
SET log_min_duration_statement = -1;

\getenv ducklake_password DUCKLAKE_POSTGRES_PASSWORD
\getenv dagster_password DAGSTER_POSTGRES_PASSWORD

CREATE ROLE ducklake LOGIN PASSWORD :'ducklake_password';
CREATE DATABASE ducklake OWNER ducklake;
REVOKE CONNECT, TEMPORARY ON DATABASE ducklake FROM PUBLIC;

CREATE ROLE dagster LOGIN PASSWORD :'dagster_password';
CREATE DATABASE dagster OWNER dagster;
REVOKE CONNECT, TEMPORARY ON DATABASE dagster FROM PUBLIC;

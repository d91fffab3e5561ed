#!/bin/sh
# Make the bucket and two users: one who may not delete, one who may. Running it again changes nothing but the keys.
set -eu
export MC_CONFIG_DIR=/tmp/mc # the image's user need not have a home

mc --quiet alias set lake "$S3_ENDPOINT" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null
mc --quiet mb --ignore-existing lake/ducklake

user() { # name of the policy, access key, secret key
    mc --quiet admin policy create lake "$1" "/setup/$1-policy.json"
    mc --quiet admin user add lake "$2" "$3" >/dev/null
    # Attaching a policy that is attached already is an error.
    mc --quiet admin user info lake "$2" | grep -qw "$1" || mc --quiet admin policy attach lake "$1" --user "$2"
}

user ingest "$INGEST_ACCESS_KEY" "$INGEST_SECRET_KEY"
user maintenance "$MAINTENANCE_ACCESS_KEY" "$MAINTENANCE_SECRET_KEY"

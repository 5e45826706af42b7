#!/bin/sh
# Prints fresh secrets for docker-compose.yml: sh infra/docker/new-env.sh > .env
# Keep the file: LIKENESS_SECRET_KEY can't be changed without making all API keys anew (docs/operations.md).
set -eu
umask 077
for name in LIKENESS_SECRET_KEY POSTGRES_PASSWORD VALKEY_PASSWORD S3_SECRET_KEY; do
    secret=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    [ ${#secret} -eq 64 ] || { echo "no randomness" >&2; exit 1; }
    echo "$name=$secret"
done

#!/bin/sh
# Whether Redis answers and has read its file of jobs.
REDISCLI_AUTH=$(cat /run/vitgan/vitgan_redis_password) redis-cli ping | grep -q PONG

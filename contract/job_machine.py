"""The job machine: its states, and each transition as one Lua script, so that it happens whole or not at all.

    create   -> queued
    claim    queued -> running        a worker takes it; attempts + 1, fence + 1, a lease
    beat     running -> running       the lease is renewed, progress told; answers whether to go on
    finish   running -> succeeded | failed | cancelled
    release  running -> queued        a worker that stops gives it back
    reap     running -> queued        the lease ran out: losses + 1, to be claimed after a pause
             running -> failed        ... for the last time
             running -> cancelled     ... after a cancel that its worker did not live to hear
    cancel   queued -> cancelled      at once; of a running one it sets a flag that the next beat tells

Whoever has an old fence has lost the job: beat, finish and release refuse it. The clock is Redis's, one for
all hosts. Every script keeps the indexes right: ``jobs:queued:KIND`` (places in line), ``jobs:running`` (ends
of leases), ``jobs:rings`` (when to ring a queued job's doorbell again), ``jobs:names``.
"""

from __future__ import annotations

LEASE_SECONDS = 20.0  # longer than the freezes of Redis that a job must survive
RING_SECONDS, RING_LONGEST = 10.0, 60.0  # until a doorbell that nobody heard rings again, doubled up to
MAX_LOSSES = 3  # workers that may be lost with a job
PAUSE_SECONDS = 2.0  # after a loss, doubled with each

_NOW = "local t = redis.call('TIME'); local now = t[1] + t[2] / 1000000; "

# KEYS: job, jobs, queued, names, rings. ARGV: id, name, kind, request, ring seconds.
CREATE = (
    _NOW
    + """
if redis.call('HSETNX', KEYS[4], ARGV[2], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'kind', ARGV[3], 'status', 'queued', 'attempts', 0, 'losses', 0, 'rings', 0,
           'fence', 0, 'cancel', 0, 'name', ARGV[2], 'request', ARGV[4], 'created_at', now)
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('ZADD', KEYS[5], now + ARGV[5], ARGV[1])
return 1
"""
)

# KEYS: job, queued, running, rings. ARGV: id, lease seconds.
CLAIM = (
    _NOW
    + """
local status, pause = unpack(redis.call('HMGET', KEYS[1], 'status', 'not_before'))
if status ~= 'queued' or (pause and tonumber(pause) > now) then return nil end
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'status', 'running')
redis.call('HSETNX', KEYS[1], 'started_at', now)
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[1])
return {redis.call('HINCRBY', KEYS[1], 'fence', 1), redis.call('HGET', KEYS[1], 'request')}
"""
)

# KEYS: job, running. ARGV: id, fence, lease seconds, progress ('' for none).
BEAT = (
    _NOW
    + """
local status, fence, cancel = unpack(redis.call('HMGET', KEYS[1], 'status', 'fence', 'cancel'))
if status ~= 'running' or fence ~= ARGV[2] then return 'lost' end
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'progress', ARGV[4]) end
return cancel == '1' and 'cancel' or 'go on'
"""
)

# KEYS: job, names, running. ARGV: id, fence, status, field, value.
FINISH = (
    _NOW
    + """
local status, fence, name = unpack(redis.call('HMGET', KEYS[1], 'status', 'fence', 'name'))
if status ~= 'running' or fence ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'status', ARGV[3], 'finished_at', now)
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], ARGV[4], ARGV[5]) end
redis.call('HDEL', KEYS[2], name)
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
"""
)

# KEYS: job, queued, running, rings. ARGV: id, fence.
RELEASE = (
    _NOW
    + """
local status, fence, created = unpack(redis.call('HMGET', KEYS[1], 'status', 'fence', 'created_at'))
if status ~= 'running' or fence ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'status', 'queued', 'rings', 0)
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[2], created, ARGV[1])
redis.call('ZADD', KEYS[4], now, ARGV[1])
return 1
"""
)

# KEYS: job, queued, names, rings. ARGV: id.
CANCEL = (
    _NOW
    + """
local status, name = unpack(redis.call('HMGET', KEYS[1], 'status', 'name'))
if status == 'queued' then
  redis.call('HSET', KEYS[1], 'status', 'cancelled', 'finished_at', now)
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('HDEL', KEYS[3], name)
elseif status == 'running' then
  redis.call('HSET', KEYS[1], 'cancel', 1)
end
return status
"""
)

# One job whose lease ran out.
# KEYS: job, queued, running, rings, names. ARGV: id, losses allowed, pause seconds.
REAP = (
    _NOW
    + """
local lease = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not lease or tonumber(lease) > now then return nil end
local created, name, cancel = unpack(redis.call('HMGET', KEYS[1], 'created_at', 'name', 'cancel'))
local losses = redis.call('HINCRBY', KEYS[1], 'losses', 1)
redis.call('HINCRBY', KEYS[1], 'fence', 1)
redis.call('ZREM', KEYS[3], ARGV[1])
local status = cancel == '1' and 'cancelled' or losses >= tonumber(ARGV[2]) and 'failed' or 'queued'
redis.call('HSET', KEYS[1], 'status', status)
if status == 'queued' then
  local due = now + ARGV[3] * 2 ^ (losses - 1)
  redis.call('HSET', KEYS[1], 'not_before', due, 'rings', 0)
  redis.call('ZADD', KEYS[2], created, ARGV[1])
  redis.call('ZADD', KEYS[4], due, ARGV[1])
else
  redis.call('HSET', KEYS[1], 'finished_at', now)
  redis.call('HDEL', KEYS[5], name)
end
if status == 'failed' then
  redis.call('HSET', KEYS[1], 'error', 'its worker was lost ' .. losses .. ' times, so it is not tried again')
end
return status
"""
)

# Whether a queued job's doorbell is due, and when it is next.
# KEYS: job, rings. ARGV: id, first, longest seconds.
RING = (
    _NOW
    + """
local due = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not due or tonumber(due) > now then return nil end
local rings = redis.call('HINCRBY', KEYS[1], 'rings', 1)
redis.call('ZADD', KEYS[2], now + math.min(ARGV[3], ARGV[2] * 2 ^ rings), ARGV[1])
return redis.call('HGET', KEYS[1], 'kind')
"""
)

# KEYS: running, rings. Ids of which the one or the other is due.
DUE = (
    _NOW
    + """
return {redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100),
        redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)}
"""
)

# Whether this process is the one that reaps. KEYS: reaper. ARGV: id, milliseconds.
ELECT = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

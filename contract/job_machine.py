"""The job machine: its states, and each transition as one Lua script, so that it happens whole or not at all.

    create   -> queued
    claim    queued -> running        a worker takes it; attempts + 1, fence + 1, a lease
    beat     running -> running       the lease is renewed, progress told; answers whether to go on
    finish   running -> succeeded | failed | cancelled
    release  running -> queued        a worker that stops gives it back
             running -> cancelled     ... after a cancel that it has not heard
    reap     running -> queued        the lease ran out: losses + 1, to be claimed after a pause
             running -> failed        ... for the last time
             running -> cancelled     ... after a cancel that its worker did not live to hear
    cancel   queued -> cancelled      at once; of a running one it sets a flag that the next beat tells
    forget   succeeded | failed | cancelled -> gone, ``KEEP_SECONDS`` later, a cancelled one
             ``CANCELLED_SECONDS``; sooner if its owner has more than ``MOST_KEPT`` or ``MOST_KEPT_BYTES``

Whoever has an old fence has lost the job: beat, finish and release refuse it. The clock is Redis's, one for
all hosts. Every script keeps the indexes right: ``jobs:queued:KIND`` (places in line), ``jobs:running`` (ends
of leases), ``jobs:rings`` (when to ring a queued job's doorbell again), ``jobs:names``, ``jobs:ended``,
``jobs:of:OWNER``, ``jobs:open``, ``jobs:pixels`` and ``jobs:bytes`` (how many are unfinished, their pixels,
and what the records of all take, by owner). What changes the record is told in the job's stream of events by
the same script, so that both always agree, and an end that a webhook is to hear of is queued for it too.

A script's first write is one that Redis refuses when its memory is full, so it is refused as a whole.
"""

from __future__ import annotations

LEASE_SECONDS = 20.0  # longer than the freezes of Redis that a job must survive
RING_SECONDS, RING_LONGEST = 10.0, 60.0  # until a doorbell that nobody heard rings again, doubled up to
MAX_LOSSES = 3  # workers that may be lost with a job
PAUSE_SECONDS = 2.0  # after a loss, doubled with each
KEEP_SECONDS = 30 * 86_400.0  # a job that has ended is forgotten so long after
CANCELLED_SECONDS = 3600.0  # one that was cancelled; its webhook has given up by then
RECORD_BYTES = 6000  # of Redis that a job takes besides its request
MOST_KEPT, MOST_KEPT_BYTES = 10_000, 32 * 2**20  # of one owner: then the oldest ended ones are forgotten
MOST_BYTES = 64 * 2**20  # of one owner: then no more are taken
KEEP_EVENTS = 1000  # of one job

_NOW = "local t = redis.call('TIME'); local now = t[1] + t[2] / 1000000; "

# What transitions begin with. KEYS: as contract.keys.of_job gives them. ARGV: id, then each script's own.
_JOB = (
    _NOW
    + f"local keep_events, keep, brief = {KEEP_EVENTS}, {KEEP_SECONDS}, {CANCELLED_SECONDS};"
    + """
local job, events, jobs, queued, running, rings, names, ended, webhooks, open, drawn, owned = unpack(KEYS)
local id = ARGV[1]

local function tell(kind, data)
  if redis.call('XLEN', events) >= keep_events then
    local first = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1][1]
    redis.call('HSET', job, 'dropped', first)
  end
  redis.call('XADD', events, 'MAXLEN', keep_events, '*', 'type', kind, 'data', data)
end

local function become(status, ...)
  redis.call('HSET', job, 'status', status, ...)
  local attempts, losses, problem, result =
    unpack(redis.call('HMGET', job, 'attempts', 'losses', 'error', 'result'))
  tell('status', string.format('{"status":"%s","at":%.6f,"attempts":%s,"losses":%s,"error":', status, now,
       attempts, losses) .. (problem and cjson.encode(problem) or 'null') .. ',"result":'
       .. (result or 'null') .. '}')
end

local function finish(status, ...)
  become(status, 'finished_at', now, ...)
  redis.call('ZADD', ended, status == 'cancelled' and now - keep + brief or now, id)
  if redis.call('HEXISTS', job, 'webhook') == 1 then redis.call('ZADD', webhooks, now, id) end
  local name, owner, pixels = unpack(redis.call('HMGET', job, 'name', 'owner', 'pixels'))
  redis.call('HDEL', names, name)
  if redis.call('HINCRBY', open, owner, -1) == 0 then redis.call('HDEL', open, owner) end
  if pixels and redis.call('HINCRBY', drawn, owner, '-' .. pixels) == 0 then
    redis.call('HDEL', drawn, owner)
  end
end
"""
)

# KEYS: the owner's jobs and all owners' bytes too. ARGV: id, name, kind, request, ring seconds, owner,
# webhook ('' for none), the bounds of what is queued and of the owner's unfinished jobs (-1: none), pixels,
# the bound of pixels of the owner's unfinished jobs, which concerns no job that is the only one (-1: none),
# the bound of the owner's bytes, and the bytes of a record without its request. A job that is there is made.
CREATE = (
    _JOB
    + """
local _, name, kind, request, ring, owner, webhook, most_queued, most_open,
  pixels, most_pixels, most_bytes, bytes = unpack(ARGV)
local size = #request + #webhook + tonumber(bytes)
if redis.call('EXISTS', job) == 1 then return 'made' end
if redis.call('ZCARD', queued) >= tonumber(most_queued) then return 'full' end
local unfinished = tonumber(redis.call('HGET', open, owner) or '0')
if tonumber(most_open) >= 0 and unfinished >= tonumber(most_open) then return 'quota' end
local waiting = unfinished > 0 and tonumber(redis.call('HGET', drawn, owner) or '0') or 0
local large = pixels ~= '0' and waiting > 0 and waiting + pixels > tonumber(most_pixels)
if large and tonumber(most_pixels) >= 0 then return 'pixels' end
local taken = tonumber(redis.call('HGET', KEYS[13], owner) or '0')
if taken + size > tonumber(most_bytes) then return 'bytes' end
if redis.call('HSETNX', names, name, id) == 0 then return 'taken' end
if unfinished == 0 then redis.call('HDEL', drawn, owner) end -- of ends that an older release has told
redis.call('HINCRBY', KEYS[13], owner, size)
redis.call('HINCRBY', open, owner, 1)
redis.call('HSET', job, 'kind', kind, 'attempts', 0, 'losses', 0, 'rings', 0, 'fence', 0, 'cancel', 0,
           'name', name, 'request', request, 'owner', owner, 'created_at', now, 'size', size)
if pixels ~= '0' then
  redis.call('HSET', job, 'pixels', pixels)
  redis.call('HINCRBY', drawn, owner, pixels)
end
if webhook ~= '' then redis.call('HSET', job, 'webhook', webhook) end
become('queued')
redis.call('ZADD', jobs, now, id)
redis.call('ZADD', owned, now, id)
redis.call('ZADD', queued, now, id)
redis.call('ZADD', rings, now + ring, id)
return 'made'
"""
)

# ARGV: id, lease seconds.
CLAIM = (
    _JOB
    + """
local status, pause = unpack(redis.call('HMGET', job, 'status', 'not_before'))
if status ~= 'queued' or (pause and tonumber(pause) > now) then return nil end
if not redis.call('ZSCORE', queued, id) then return nil end -- a doorbell of another kind
redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSETNX', job, 'started_at', now)
become('running')
redis.call('ZADD', running, now + ARGV[2], id)
redis.call('ZREM', queued, id)
redis.call('ZREM', rings, id)
return {redis.call('HINCRBY', job, 'fence', 1), redis.call('HGET', job, 'request')}
"""
)

# ARGV: id, fence, lease seconds, progress ('' for none). Progress that says nothing new is no event.
BEAT = (
    _JOB
    + """
local status, fence, cancel, progress =
  unpack(redis.call('HMGET', job, 'status', 'fence', 'cancel', 'progress'))
if status ~= 'running' or fence ~= ARGV[2] then return 'lost' end
redis.call('ZADD', running, now + ARGV[3], id)
if ARGV[4] ~= '' and ARGV[4] ~= progress then
  redis.call('HSET', job, 'progress', ARGV[4])
  tell('progress', ARGV[4])
end
return cancel == '1' and 'cancel' or 'go on'
"""
)

# ARGV: id, fence, status, the last progress ('' for none), then a field and its value, or nothing.
FINISH = (
    _JOB
    + """
local status, fence, progress = unpack(redis.call('HMGET', job, 'status', 'fence', 'progress'))
if status ~= 'running' or fence ~= ARGV[2] then return 0 end
if ARGV[4] ~= '' and ARGV[4] ~= progress then
  redis.call('HSET', job, 'progress', ARGV[4])
  tell('progress', ARGV[4])
end
finish(ARGV[3], unpack(ARGV, 5))
redis.call('ZREM', running, id)
return 1
"""
)

# ARGV: id, fence.
RELEASE = (
    _JOB
    + """
local status, fence, created, cancel =
  unpack(redis.call('HMGET', job, 'status', 'fence', 'created_at', 'cancel'))
if status ~= 'running' or fence ~= ARGV[2] then return 0 end
if cancel == '1' then
  finish('cancelled')
else
  become('queued', 'rings', 0)
  redis.call('ZADD', queued, created, id)
  redis.call('ZADD', rings, now, id)
end
redis.call('ZREM', running, id)
return 1
"""
)

# ARGV: id.
CANCEL = (
    _JOB
    + """
local status, asked = unpack(redis.call('HMGET', job, 'status', 'cancel'))
if status == 'queued' then
  finish('cancelled')
  redis.call('ZREM', queued, id)
  redis.call('ZREM', rings, id)
elseif status == 'running' and asked == '0' then
  redis.call('HSET', job, 'cancel', 1)
  tell('cancel-asked', string.format('{"at":%.6f}', now))
end
return status
"""
)

# One job whose lease ran out. ARGV: id, losses allowed, pause seconds.
REAP = (
    _JOB
    + """
local lease = redis.call('ZSCORE', running, id)
if not lease or tonumber(lease) > now then return nil end
local created, cancel = unpack(redis.call('HMGET', job, 'created_at', 'cancel'))
local losses = redis.call('HINCRBY', job, 'losses', 1)
redis.call('HINCRBY', job, 'fence', 1)
local status = 'queued'
if cancel == '1' then
  status = 'cancelled'
  finish(status)
elseif losses >= tonumber(ARGV[2]) then
  status = 'failed'
  finish(status, 'error', 'its worker was lost ' .. losses .. ' times, so it is not tried again')
else
  local due = now + ARGV[3] * 2 ^ (losses - 1)
  become(status, 'not_before', due, 'rings', 0)
  redis.call('ZADD', queued, created, id)
  redis.call('ZADD', rings, due, id)
end
redis.call('ZREM', running, id)
return status
"""
)

# One job that ended long ago. ARGV: id, seconds that it is kept.
# KEYS: the owner's jobs, of webhooks the dead, the reasons, the attempts, and all owners' bytes.
FORGET = (
    _JOB
    + """
local ended_at = redis.call('ZSCORE', ended, id)
if not ended_at or tonumber(ended_at) + ARGV[2] > now then return 0 end
local owner, size = unpack(redis.call('HMGET', job, 'owner', 'size'))
redis.call('DEL', job, events) -- first, as it is never refused
if size and redis.call('HINCRBY', KEYS[16], owner, -size) <= 0 then redis.call('HDEL', KEYS[16], owner) end
for _, index in ipairs({jobs, owned, ended, webhooks, KEYS[13]}) do redis.call('ZREM', index, id) end
redis.call('HDEL', KEYS[14], id)
redis.call('HDEL', KEYS[15], id)
return 1
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

# Ids that are due in an index of times. KEYS: the index. ARGV: seconds after those times.
DUE = _NOW + "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1], 'LIMIT', 0, 100)"

# Whether this process is the one that reaps. KEYS: reaper. ARGV: id, milliseconds.
ELECT = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

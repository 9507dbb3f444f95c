"""The scripts that a Redis server runs. A script is carried out whole, and nothing else meanwhile.

They are sent with each call, so a server that has lost them needs none of them again.
"""

from __future__ import annotations

COMMIT = """
-- Carries out the writes of sessions: all of them, or none.
-- KEYS: the sets of all sessions and of expiries; of each session, its hash and its list; and of
-- each, what tells of its deletion.
-- ARGV: the daemon's id; whether it is carried out even beyond maxmemory, 0 or 1; of each session
-- its kind, epoch, place, chain, creates, releases, the number of its commands, and of each command
-- the number of its parts, and these.
-- `creates` is 'new', 'again' (with the epoch it had) or ''.
-- Returns the epoch of each group; or { -1, the number of the group that is refused, why }.
local me = ARGV[1]
local groups = {}
local at = 3
while at <= #ARGV do
  local commands = {}
  local group = {
    ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4],
    ARGV[at + 5] == '1', commands,
  }
  local count = tonumber(ARGV[at + 6])
  at = at + 7
  for number = 1, count do
    local parts = tonumber(ARGV[at])
    commands[number] = { unpack(ARGV, at + 1, at + parts) }
    at = at + parts + 1
  end
  groups[#groups + 1] = group
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local restores = {}

local function refusal(number, group)
  local kind, epoch, place, chain = unpack(group)
  local hash, list = KEYS[2 * number + 1], KEYS[2 * number + 2]
  if redis.call('EXISTS', hash) == 0 then
    local deleted = tonumber(redis.call('GET', KEYS[2 * #groups + 2 + number]) or 0)
    if deleted >= epoch then
      -- What is written again was deleted since, perhaps by who has claimed it.
      if group[5] == 'again' then return 'held' end
      if group[5] == '' then group[7] = {} end
      group[2] = deleted -- what is created has a later one
    end
    return kind == 'write' and 'gone'
  end
  if kind == 'create' then return 'exists' end
  local stored = redis.pcall('HMGET', hash, 'o', 'e', 'p')
  if stored.err then return kind == 'write' and 'damaged' end
  local reached = tonumber(stored[2]) or 0
  if epoch < reached or (epoch == reached and stored[1] ~= me) then return 'held' end
  if kind == 'delete' then return false end
  -- A server that has lost writes may have lost a claim. No later one has been made.
  restores[number] = epoch > reached
  if stored[3] ~= place then return 'moved' end
  return redis.pcall('LLEN', list) ~= chain and 'damaged'
end

-- The text and the state of a checkpoint take the place of the session's; who holds it stays.
local function restore(hash, checkpoint)
  local kept = redis.call('HMGET', hash, 'o', 'e', 'r', 'x')
  if redis.call('COPY', checkpoint, hash, 'REPLACE') == 0 then error('the checkpoint is gone') end
  for at, field in ipairs({ 'o', 'e', 'r', 'x' }) do
    if kept[at] then redis.call('HSET', hash, field, kept[at]) end
  end
end

local function discard_checkpoints(hash)
  local names = redis.pcall('HKEYS', hash .. ':n')
  for _, name in ipairs(names) do
    redis.call('DEL', hash .. ':n:' .. name, hash .. ':n:' .. name .. ':c')
  end
  redis.call('DEL', hash .. ':n')
end

for number, group in ipairs(groups) do
  local why = refusal(number, group)
  if why then return { -1, number, why } end
end
-- The first command that writes says whether a script may go beyond maxmemory. This one may always.
if ARGV[2] == '1' then redis.call('DEL', 'cellwire:none') end
local epochs = {}
for number, group in ipairs(groups) do
  local kind, epoch, _, _, creates, releases, commands = unpack(group)
  local hash = KEYS[2 * number + 1]
  if kind == 'delete' then discard_checkpoints(hash) end
  for _, command in ipairs(commands) do
    if command[1] == 'restore' then
      restore(hash, command[2])
    else
      redis.call(unpack(command))
    end
  end
  if creates == 'new' then epoch = math.max(now, epoch + 1) end
  local written = string.format('%.0f', epoch)
  if releases then
    redis.call('HSET', hash, 'o', '', 'e', written, 'r', written)
  elseif creates ~= '' or restores[number] then
    redis.call('HSET', hash, 'o', me, 'e', written)
  end
  epochs[number] = epoch
end
return epochs
"""

CLAIM = """
-- KEYS: the hash of a session. ARGV: the daemon's id; what comes before ids in the names of leases.
-- Returns { "claimed", epoch, place }, { "held", the holder's id } or { "gone" }.
if redis.call('EXISTS', KEYS[1]) == 0 then return { 'gone' } end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stored = redis.pcall('HMGET', KEYS[1], 'o', 'e', 'p')
if stored.err then return { 'claimed', now, '' } end
local holder = stored[1] or ''
if holder ~= '' and holder ~= ARGV[1] and redis.call('EXISTS', ARGV[2] .. holder) == 1 then
  return { 'held', holder }
end
-- By the clock, so that an epoch is not given again after the server has lost one.
local epoch = math.max(now, (tonumber(stored[2]) or 0) + 1)
redis.call('DEL', 'cellwire:none') -- so that it is allowed beyond maxmemory, too
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'e', string.format('%.0f', epoch))
return { 'claimed', epoch, stored[3] or '' }
"""

RENEW = """
-- KEYS: a lease. ARGV: milliseconds. Returns whether it had run out: 0 or 1.
local had = redis.call('EXISTS', KEYS[1])
redis.call('DEL', 'cellwire:none') -- so that it is allowed beyond maxmemory, too
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1 - had
"""

READ = """
-- Carries out commands that read. KEYS: theirs. ARGV: of each the number of its parts, and these.
local answers = {}
local at = 1
while at <= #ARGV do
  local parts = tonumber(ARGV[at])
  answers[#answers + 1] = redis.pcall(unpack(ARGV, at + 1, at + parts))
  at = at + parts + 1
end
return answers
"""

#!lua name=bursar_5
--
-- The ledger's atomic steps. All meaning is in Rust; what is here compares, writes and reads.
--
-- This library is never replaced: a change of what a function takes or does gets a new library of the next number beside
-- it, so that two releases find their functions on one server. What the values mean is a matter of the releases.
--
-- Values are bytes that these functions never look into. '' stands for "none".

-- The replication history that this primary belongs to; '' if the server hides it.
local function lineage()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
end

-- This server's clock, in ms.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- No lease is as long as this (ms). What claims more was stamped by the clock of another server.
local LEASE_MS_MAX = 2000

-- Who holds a lease, and for how long still (ms); 0 if nobody does.
local function holder_of(lease)
  local until_ms, holder = string.match(lease or '', '^(%d+) (.*)$')
  if not until_ms then return '', 0 end
  local left_ms = until_ms - now_ms()
  if left_ms <= 0 or left_ms > LEASE_MS_MAX then return '', 0 end
  return holder, left_ms
end

-- Reads what a worker lacks of one account, all at one moment.
--
--   KEYS  account, outbox, ends, a key per segment of ids, a key per older window
--   ARGV  base (1 or 0), n, n fields of scopes, s (number of segments), o (number of older windows), o fields,
--         then for a page of scopes to be looked at: until (ms), offset, limit; or ''
--         then for a page of all fields: limit, run, place; or ''
--   reply { head, { settings, calendar, segments, { number, signal, ... } } or {}, { row, ... }, { ids, ... },
--           { counters, ... }, { scope, time, ... }, first time after until, { run, place, { field, value, ... } } };
--           what does not exist is nil; a place of 0 is the end
local function load(keys, args)
  local next_arg = 1
  local function take()
    local value = args[next_arg]
    next_arg = next_arg + 1
    return value
  end
  local function take_list()
    local list = {}
    for i = 1, tonumber(take()) do list[i] = take() end
    return list
  end

  local base = {}
  if take() == '1' then
    base = redis.call('HMGET', keys[1], 'settings', 'calendar', 'segments')
    base[4] = redis.call('HGETALL', keys[2])
  end
  local fields, rows = take_list(), {}
  for first = 1, #fields, 1000 do
    local piece = redis.call('HMGET', keys[1], unpack(fields, first, math.min(first + 999, #fields)))
    for i = 1, #piece do rows[first - 1 + i] = piece[i] end
  end
  local segment_count = tonumber(take())
  local segments, older = {}, {}
  for i = 1, segment_count do segments[i] = redis.call('GET', keys[3 + i]) end
  for i, field in ipairs(take_list()) do older[i] = redis.call('HGET', keys[3 + segment_count + i], field) end
  local ending, next_end = {}, false
  local until_ms = take()
  if until_ms ~= '' then
    ending = redis.call('ZRANGEBYSCORE', keys[3], '-inf', until_ms, 'WITHSCORES', 'LIMIT', take(), take())
    next_end = redis.call('ZRANGEBYSCORE', keys[3], '(' .. until_ms, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2] or false
  end
  -- A place is good only in the process that gave it: its hash function has a seed of its own.
  local walk, limit = {}, take()
  if limit ~= '' then
    local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
    local known_run, place = take(), take()
    if known_run ~= run then place = '0' end
    local page = redis.call('HSCAN', keys[1], place, 'COUNT', limit)
    walk = { run, page[1], page[2] }
  end
  return { redis.call('HGET', keys[1], 'head'), base, rows, segments, older, ending, next_end, walk }
end

-- Writes one step of an account, if nobody moved it meanwhile.
--
-- While a slot of a cluster is on the move, a key that has vanished may not be named again, or the script ends there. So
-- what removes comes last, in one call per key. And ids come first: if a script ever ended halfway, its records would be
-- duplicates and not counted twice.
--
--   KEYS  account, outbox, paused, ends, then one key per segment to append to, to seal, per older window, to remove
--   ARGV  expected head, new head, then lists, each opened by its length:
--         append (ids, time to live in ms), seal (time to live in ms), fields (field, value), signals (number, value),
--         older (field, value, ttl in ms), paused (scope, causes, end), forget (number), remove (nothing)
--   reply 0 if the head is another: then nothing is written; else 1, and more if somebody holds a lease of the account:
--         for how long (ms)
--
-- Example: an event of agent a in workspace w moves head h1 to h2, and its id goes to segment 1700000000000:
--   FCALL bursar_commit_5 5 b:{o}:account b:{o}:outbox b:{o}:paused b:{o}:ends b:{o}:ids:1700000000000
--     h1 h2 1 <10 bytes> 691200000 0 3 org ... ws:w ... agent:w/a ... 0 0 0 0 0
local function commit(keys, args)
  local account = keys[1]
  local known = redis.call('HMGET', account, 'head', 'lease')
  if (known[1] or '') ~= args[1] then return 0 end
  local _, left_ms = holder_of(known[2])
  local next_arg, next_key = 3, 5
  local function take()
    local value = args[next_arg]
    next_arg = next_arg + 1
    return value
  end
  local function take_key()
    local key = keys[next_key]
    next_key = next_key + 1
    return key
  end

  -- Lua's unpack fails at some thousand values, so lists are handed on in pieces; a field and its value with the first.
  local function hand_on(command, key, values_per_item, field, value)
    local last = next_arg + tonumber(take()) * values_per_item
    if field then
      local piece = math.min(last, next_arg + 1999)
      redis.call(command, key, field, value, unpack(args, next_arg, piece))
      next_arg = piece + 1
    end
    while next_arg <= last do
      local piece = math.min(last, next_arg + 1999)
      redis.call(command, key, unpack(args, next_arg, piece))
      next_arg = piece + 1
    end
  end
  -- In one call: a commit has some 1,000 scopes at most.
  local function remove(command, key, members)
    if #members > 0 then redis.call(command, key, unpack(members)) end
  end

  for _ = 1, tonumber(take()) do
    local key, ids, ttl_ms = take_key(), take(), take()
    if redis.call('APPEND', key, ids) == #ids then redis.call('PEXPIRE', key, ttl_ms) end
  end
  for _ = 1, tonumber(take()) do
    local key, ttl_ms = take_key(), take()
    local ids = redis.call('GET', key)
    if ids then redis.call('SET', key, ids, 'PX', ttl_ms) end
  end
  hand_on('HSET', account, 2, 'head', args[2])
  hand_on('HSET', keys[2], 2)
  for _ = 1, tonumber(take()) do
    local key = take_key()
    redis.call('HSET', key, take(), take())
    redis.call('PEXPIRE', key, take())
  end
  local resumed, endless = {}, {}
  for _ = 1, tonumber(take()) do
    local scope, causes, end_ms = take(), take(), take()
    if causes == '' then resumed[#resumed + 1] = scope else redis.call('HSET', keys[3], scope, causes) end
    if end_ms == '' then endless[#endless + 1] = scope else redis.call('ZADD', keys[4], end_ms, scope) end
  end
  remove('HDEL', keys[3], resumed)
  remove('ZREM', keys[4], endless)
  hand_on('HDEL', keys[2], 1)
  for _ = 1, tonumber(take()) do redis.call('UNLINK', take_key()) end
  return 1 + left_ms
end

-- Reads fence and progress together: what a worker may begin with.
--
--   KEYS  progress key of a tag
--   ARGV  a random token, stored where there is none, then the fields of partitions
--   reply { lineage, token, progress, progress, ... }
local function begin(keys, args)
  redis.call('HSETNX', keys[1], 'token', args[1])
  local reply = { lineage(), redis.call('HGET', keys[1], 'token') }
  for first = 2, #args, 1000 do
    local piece = redis.call('HMGET', keys[1], unpack(args, first, math.min(first + 999, #args)))
    for i = 1, #piece do reply[first + i] = piece[i] end
  end
  return reply
end

-- Writes progress, if the fence is the one that the positions were read with. Progress opens with its offset and its low
-- water; what is further stays: a worker that lost its partition without knowing must not take it back.
--
--   KEYS  progress key of a tag
--   ARGV  lineage, token, then pairs of field and progress
--   reply 1, or 0 if the fence is another
local function advance(keys, args)
  if lineage() ~= args[1] or redis.call('HGET', keys[1], 'token') ~= args[2] then return 0 end
  local function parse(progress)
    local offset, low_water = string.match(progress, '^(-?%d+) ?(-?%d*)')
    return tonumber(offset), tonumber(low_water) or 0
  end
  local fields = {}
  for i = 3, #args, 2 do fields[#fields + 1] = args[i] end
  for first = 1, #fields, 1000 do
    local last, pairs_to_write = math.min(first + 999, #fields), {}
    local stored = redis.call('HMGET', keys[1], unpack(fields, first, last))
    for i = first, last do
      local progress = args[2 + 2 * i]
      local offset, low_water = parse(progress)
      local stored_offset, stored_low_water = parse(stored[i - first + 1] or '-1')
      if stored_offset < offset or (stored_offset == offset and stored_low_water <= low_water) then
        pairs_to_write[#pairs_to_write + 1] = fields[i]
        pairs_to_write[#pairs_to_write + 1] = progress
      end
    end
    if #pairs_to_write > 0 then redis.call('HSET', keys[1], unpack(pairs_to_write)) end
  end
  return 1
end

-- Removes an entry of the index of due times, unless it has been moved meanwhile.
--
--   KEYS  index of due times
--   ARGV  organization, the instant that was served (ms)
local function forget_due(keys, args)
  if redis.call('ZSCORE', keys[1], args[1]) == args[2] then return redis.call('ZREM', keys[1], args[1]) end
  return 0
end

-- Takes the lease of an account, if nobody has it. It is a field of the account, so that every commit sees it and tells
-- its worker to leave the account alone for so long; what is right is told by the head alone.
--
--   KEYS  account
--   ARGV  holder, for how long (ms)
--   reply for how long another holder keeps it (ms); 0 if this one has it now
local function lease(keys, args)
  local known = redis.call('HMGET', keys[1], 'head', 'lease')
  -- Nobody contends for an account that is not there.
  if not known[1] then return 0 end
  local holder, left_ms = holder_of(known[2])
  if left_ms == 0 or holder == args[1] then
    redis.call('HSET', keys[1], 'lease', string.format('%.0f %s', now_ms() + args[2], args[1]))
    return 0
  end
  return left_ms
end

redis.register_function { function_name = 'bursar_load_5', callback = load, flags = { 'no-writes' } }
redis.register_function('bursar_commit_5', commit)
redis.register_function('bursar_begin_5', begin)
redis.register_function('bursar_advance_5', advance)
redis.register_function('bursar_forget_due_5', forget_due)
redis.register_function('bursar_lease_5', lease)

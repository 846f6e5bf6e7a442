-- Appends an update to its mailbox, unless its id is there, and acquires the lease of a
-- mailbox that is not pending.
-- KEYS  1 mailbox  2 state  3 pending  4 leases
-- ARGV  1 ordering key  2 update_id  3 envelope  4 token ('': acquire no lease)
--       5 lease in ms  6 maximum number of updates in the mailbox (0: no limit)
-- Returns {state, head (omitted if the mailbox was empty)} if the lease was acquired;
--       otherwise 0 if the update was there already, 1 if it was stored,
--       2 if the mailbox is full
local count = redis.call('ZCARD', KEYS[1])
if count > 0 and redis.call('ZCOUNT', KEYS[1], ARGV[2], ARGV[2]) > 0 then
  if ARGV[4] == '' or redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[4] then return 0 end
  -- This token has the lease already: the first reply was lost. Start the lease again.
  -- The ZREM removes nothing. If a full Redis accepts a script's first write, it accepts
  -- all.
  redis.call('ZREM', KEYS[3], '')
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZADD', KEYS[3], 'XX', now + ARGV[5], ARGV[1])
  return {redis.call('GET', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, 0)[1]}
end
if ARGV[6] ~= '0' and count >= tonumber(ARGV[6]) then return 2 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
local claimable_at = now
if ARGV[4] ~= '' then claimable_at = now + ARGV[5] end
-- A pending mailbox has an owner or waits for a scan: do not acquire its lease here.
if redis.call('ZADD', KEYS[3], 'NX', claimable_at, ARGV[1]) == 0 or ARGV[4] == '' then return 1 end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[4])
if count == 0 then return {redis.call('GET', KEYS[2])} end
return {redis.call('GET', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, 0)[1]}

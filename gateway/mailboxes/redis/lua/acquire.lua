-- Acquires the lease of a claimable mailbox, and counts the owners lost with its head.
-- KEYS  1 mailbox  2 state  3 pending  4 leases
-- ARGV  1 ordering key  2 token  3 lease in ms
--       4 number of owner losses up to which the head is not suspected
--       5... pauses in ms after one more loss, two more, ...; the last pause applies to
--       all further losses
-- Returns {state, head, owner losses, owner crashes} if the lease was acquired;
--       0 if the mailbox is not claimable, or not before the end of a pause
local claimable_at = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not claimable_at then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local owner = redis.call('HGET', KEYS[4], ARGV[1])
if owner ~= ARGV[2] and tonumber(claimable_at) > now then return 0 end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not head[1] then
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[1], '!' .. ARGV[1])
  return 0
end
-- The first write frees memory, so that a full Redis accepts the others.
redis.call('HDEL', KEYS[4], ARGV[1])
local suspicion = redis.call('HGET', KEYS[4], '!' .. ARGV[1]) or ''
local id, losses, crashes, stage, noted_token = string.match(suspicion, '^(%S+) (%d+) (%d+) ?([-+]?)(.*)$')
if id == head[2] then
  losses, crashes = tonumber(losses), tonumber(crashes)
else
  losses, crashes, noted_token = 0, 0, ''
end
local max_unsuspected = tonumber(ARGV[4])
if owner and owner ~= ARGV[2] then -- its lease expired without a release
  if noted_token ~= owner then stage = '' end
  if stage ~= '-' then losses = losses + 1 end
  if stage == '+' then crashes = crashes + 1 end
  if stage ~= '-' and crashes == 0 and losses > max_unsuspected then
    redis.call('HSET', KEYS[4], '!' .. ARGV[1], head[2] .. ' ' .. losses .. ' 0')
    redis.call('ZADD', KEYS[3], now + ARGV[math.min(4 + losses - max_unsuspected, #ARGV)], ARGV[1])
    return 0
  end
end
if losses > max_unsuspected then
  -- The new owner has not started a step yet: '-' keeps its loss from being counted.
  redis.call('HSET', KEYS[4], '!' .. ARGV[1], head[2] .. ' ' .. losses .. ' ' .. crashes .. ' -' .. ARGV[2])
elseif losses > 0 then
  redis.call('HSET', KEYS[4], '!' .. ARGV[1], head[2] .. ' ' .. losses .. ' ' .. crashes)
end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], now + ARGV[3], ARGV[1])
return {redis.call('GET', KEYS[2]), head[1], losses, crashes}

-- Claims a lane that waits, and counts the deaths of its owners.
-- KEYS  1 mail  2 state  3 pending  4 claims
-- ARGV  1 lane  2 token  3 lease in ms  4 most deaths (more: to the end of the queue)
-- Gives 0 not waiting; -n the head saw n deaths, which are too many;
--       claimed: {state, head, deaths}
local due = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not due then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local owner = redis.call('HGET', KEYS[4], ARGV[1])
if owner ~= ARGV[2] and tonumber(due) > now then return 0 end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not head[1] then
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[1], '!' .. ARGV[1])
  return 0
end
-- First of all writes, because it frees: a full Redis lets the others pass then.
redis.call('HDEL', KEYS[4], ARGV[1])
local noted = redis.call('HGET', KEYS[4], '!' .. ARGV[1]) or ''
local id, deaths = string.match(noted, '(%d+) (%d+)')
deaths = id == head[2] and tonumber(deaths) or 0
if owner and owner ~= ARGV[2] then -- it vanished with this update at the head
  deaths = deaths + 1
  redis.call('HSET', KEYS[4], '!' .. ARGV[1], head[2] .. ' ' .. deaths)
end
if deaths > tonumber(ARGV[4]) then
  redis.call('ZADD', KEYS[3], now, ARGV[1])
  return -deaths
end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], now + ARGV[3], ARGV[1])
return {redis.call('GET', KEYS[2]), head[1], deaths}

-- Claims a lane that waits, and counts the owners that vanished with its head.
-- KEYS  1 mail  2 state  3 pending  4 claims
-- ARGV  1 lane  2 token  3 lease in ms  4 deaths up to which the head is not suspected
--       then the pauses in ms after one more death, two more, ...; the last one holds
--       for all further deaths
-- Gives 0 not waiting, or not before a pause is over; claimed: {state, head, deaths, crashes}
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
local id, deaths, crashes, stage, by = string.match(noted, '^(%d+) (%d+) (%d+) ?([-+]?)(.*)$')
if id == head[2] then
  deaths, crashes = tonumber(deaths), tonumber(crashes)
else
  deaths, crashes, by = 0, 0, ''
end
local unsuspected = tonumber(ARGV[4])
if owner and owner ~= ARGV[2] then -- it vanished
  if by ~= owner then stage = '' end
  if stage ~= '-' then deaths = deaths + 1 end
  if stage == '+' then crashes = crashes + 1 end
  if stage ~= '-' and crashes == 0 and deaths > unsuspected then
    redis.call('HSET', KEYS[4], '!' .. ARGV[1], head[2] .. ' ' .. deaths .. ' 0')
    redis.call('ZADD', KEYS[3], now + ARGV[math.min(4 + deaths - unsuspected, #ARGV)], ARGV[1])
    return 0
  end
end
if deaths > unsuspected then
  -- Its actor has yet to begin: nothing of that is the update's doing.
  redis.call('HSET', KEYS[4], '!' .. ARGV[1], head[2] .. ' ' .. deaths .. ' ' .. crashes .. ' -' .. ARGV[2])
elseif deaths > 0 then
  redis.call('HSET', KEYS[4], '!' .. ARGV[1], head[2] .. ' ' .. deaths .. ' ' .. crashes)
end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], now + ARGV[3], ARGV[1])
return {redis.call('GET', KEYS[2]), head[1], deaths, crashes}

-- Lists the lanes of one shard that anybody may claim, longest waiting first.
-- KEYS  1 pending  2 marker  3 dead letters  4 rejected letters
-- ARGV  1 how many at most  2 a new marker
--       3 remove letters that are older than so many ms (0: remove none)
-- Gives {marker, lanes with mail, dead letters, rejected letters, now,
--        {lane, due, lane, due, ...}}, times in ms of Redis
local marker = redis.call('GET', KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '0' then
  local oldest = string.format('%.0f', now - ARGV[3])
  redis.call('XTRIM', KEYS[3], 'MINID', oldest)
  redis.call('XTRIM', KEYS[4], 'MINID', oldest)
end
if not marker then
  marker = ARGV[2]
  redis.call('ZREM', KEYS[1], '') -- frees nothing, but a full Redis lets the other pass then
  redis.call('SET', KEYS[2], marker)
end
local lanes = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1], 'WITHSCORES')
return {marker, redis.call('ZCARD', KEYS[1]), redis.call('XLEN', KEYS[3]),
  redis.call('XLEN', KEYS[4]), now, lanes}

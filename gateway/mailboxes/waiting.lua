-- Lists the lanes of one shard that anybody may claim, longest waiting first.
-- KEYS  1 pending  2 marker  3 dead letters
-- ARGV  1 how many at most  2 a new marker
-- Gives {marker, lanes with mail, dead letters, now, {lane, due, lane, due, ...}},
--       times in ms of Redis
local marker = redis.call('GET', KEYS[2])
if not marker then
  marker = ARGV[2]
  redis.call('ZREM', KEYS[1], '') -- frees nothing, but a full Redis lets the other pass then
  redis.call('SET', KEYS[2], marker)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lanes = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1], 'WITHSCORES')
return {marker, redis.call('ZCARD', KEYS[1]), redis.call('XLEN', KEYS[3]), now, lanes}

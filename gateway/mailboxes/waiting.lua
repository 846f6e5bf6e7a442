-- Lists the lanes of one shard that anybody may claim, longest waiting first.
-- KEYS  1 pending
-- ARGV  1 how many at most
-- Gives {} or {now, lane, due, lane, due, ...}, in ms of Redis
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lanes = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1], 'WITHSCORES')
if lanes[1] then table.insert(lanes, 1, now) end
return lanes

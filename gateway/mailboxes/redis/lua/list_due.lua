-- Lists the scheduled deliveries of one shard whose time has come, longest due first.
-- KEYS  1 scheduled
-- ARGV  1 maximum number
-- Returns their members: the id, a space, the ordering key
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])

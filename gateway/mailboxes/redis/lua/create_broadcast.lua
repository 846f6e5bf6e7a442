-- Stores a new broadcast as a draft.
-- KEYS  1 broadcast  2 broadcasts
-- ARGV  1 id  2 signed broadcast  3 when its keys expire, in ms
-- Returns 1 if it is new, otherwise the stored broadcast
local stored = redis.call('HGET', KEYS[1], 'broadcast')
if stored then return stored end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'broadcast', ARGV[2], 'state', 'draft', 'changed', string.format('%.0f', now))
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return 1

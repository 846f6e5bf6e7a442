-- Records the cool-down of a chat, unless one that ends later is known.
-- KEYS  1 cool-down
-- ARGV  1 its end in ms  2 its duration in ms
-- Returns 1 if it was recorded, 0 if not
local known = tonumber(redis.call('GET', KEYS[1]) or '')
if known and known >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

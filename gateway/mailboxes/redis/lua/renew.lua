-- Extends or releases leases of one shard.
-- KEYS  1 pending  2 leases
-- ARGV  1 lease in ms (0: release)  2... ordering key, token, ordering key, token, ...
-- Returns the indexes, from 0, of the leases that were lost
local time = redis.call('TIME')
local claimable_at = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
-- Removes nothing. If a full Redis accepts a script's first write, it accepts all.
redis.call('ZREM', KEYS[1], '')
local lost = {}
for i = 2, #ARGV, 2 do
  if redis.call('HGET', KEYS[2], ARGV[i]) ~= ARGV[i + 1] then
    lost[#lost + 1] = (i - 2) / 2
  else
    redis.call('ZADD', KEYS[1], 'XX', claimable_at, ARGV[i])
    if ARGV[1] == '0' then redis.call('HDEL', KEYS[2], ARGV[i]) end
  end
end
return lost

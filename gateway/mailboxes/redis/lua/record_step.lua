-- Records that a step of a suspected update begins or ends.
-- KEYS  1 pending  2 leases
-- ARGV  1 ordering key  2 token  3 '+' if the step begins, '' if it ends
--       4 number of owner losses up to which an update is not suspected
-- Returns 0 if the lease is not ours, otherwise 1. Changes nothing if the update is not
--       suspected.
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
-- Removes nothing. If a full Redis accepts a script's first write, it accepts all.
redis.call('ZREM', KEYS[1], '')
local suspicion, losses = string.match(redis.call('HGET', KEYS[2], '!' .. ARGV[1]) or '', '^(%S+ (%d+) %d+)')
if suspicion and tonumber(losses) > tonumber(ARGV[4]) then
  if ARGV[3] == '+' then suspicion = suspicion .. ' +' .. ARGV[2] end
  redis.call('HSET', KEYS[2], '!' .. ARGV[1], suspicion)
end
return 1

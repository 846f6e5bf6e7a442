-- Notes that a step of a suspected update begins or ends.
-- KEYS  1 pending  2 leases
-- ARGV  1 ordering key  2 token  3 '+': it begins; '': it ends
--       4 owner losses up to which an update is not suspected
-- Returns 0 not our lease; 1 noted, if the update is suspected
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], '') -- frees nothing, but a full Redis lets the other pass then
local suspicion, losses = string.match(redis.call('HGET', KEYS[2], '!' .. ARGV[1]) or '', '^(%d+ (%d+) %d+)')
if suspicion and tonumber(losses) > tonumber(ARGV[4]) then
  if ARGV[3] == '+' then suspicion = suspicion .. ' +' .. ARGV[2] end
  redis.call('HSET', KEYS[2], '!' .. ARGV[1], suspicion)
end
return 1

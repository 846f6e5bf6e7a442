-- Notes that a step of a suspected update begins or ends.
-- KEYS  1 pending  2 claims
-- ARGV  1 lane  2 token  3 '+': it begins; '': it ends
--       4 deaths up to which an update is not suspected
-- Gives 0 not our claim; 1 noted, if the update is suspected
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], '') -- frees nothing, but a full Redis lets the other pass then
local noted, deaths = string.match(redis.call('HGET', KEYS[2], '!' .. ARGV[1]) or '', '^(%d+ (%d+) %d+)')
if noted and tonumber(deaths) > tonumber(ARGV[4]) then
  if ARGV[3] == '+' then noted = noted .. ' +' .. ARGV[2] end
  redis.call('HSET', KEYS[2], '!' .. ARGV[1], noted)
end
return 1

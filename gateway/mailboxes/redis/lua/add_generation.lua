-- Makes contracts the current generation, unless another one was added meanwhile.
-- KEYS  1 contracts
-- ARGV  1 number of the generation  2 its content  3 how many generations are kept
-- Returns 1 if it is the current generation now, otherwise 0.
local number = tonumber(ARGV[1])
local current = redis.call('HGET', KEYS[1], 'current')
if current == ARGV[1] and redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return 1
end
if current and tonumber(current) ~= number - 1 then return 0 end
redis.call('HDEL', KEYS[1], tostring(number - tonumber(ARGV[3])))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], 'current', ARGV[1])
return 1

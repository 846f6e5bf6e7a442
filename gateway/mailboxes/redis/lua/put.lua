-- Appends an update to its mailbox, unless its id is there, and claims a free lane.
-- KEYS  1 mail  2 state  3 pending  4 claims
-- ARGV  1 lane  2 update_id  3 envelope  4 token ('': do not claim)  5 lease in ms
--       6 how many updates the mailbox may hold (0: any number)
-- Gives 0 already there, 1 stored, 2 full;
--       claimed: {state, the head unless it is this update}
local held = redis.call('ZCARD', KEYS[1])
if held > 0 and redis.call('ZCOUNT', KEYS[1], ARGV[2], ARGV[2]) > 0 then
  if ARGV[4] == '' or redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[4] then return 0 end
  -- Our own claim, whose answer was lost. The lease starts anew, as in every repetition.
  -- The first write of a script has to be one that frees: a full Redis lets the rest pass.
  redis.call('ZREM', KEYS[3], '')
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZADD', KEYS[3], 'XX', now + ARGV[5], ARGV[1])
  return {redis.call('GET', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, 0)[1]}
end
if ARGV[6] ~= '0' and held >= tonumber(ARGV[6]) then return 2 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
local due = now
if ARGV[4] ~= '' then due = now + ARGV[5] end
-- A lane that has mail is never claimed here: it has an owner or waits for a sweep.
if redis.call('ZADD', KEYS[3], 'NX', due, ARGV[1]) == 0 or ARGV[4] == '' then return 1 end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[4])
if held == 0 then return {redis.call('GET', KEYS[2])} end
return {redis.call('GET', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, 0)[1]}

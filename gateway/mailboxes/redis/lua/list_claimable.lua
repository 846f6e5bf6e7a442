-- Lists the claimable mailboxes of one shard, longest waiting first, by their ordering keys.
-- KEYS  1 pending  2 generation  3 dead letters  4 rejected letters
-- ARGV  1 how many at most  2 a new generation, for a shard that has none
--       3 remove letters that are older than so many ms (0: remove none)
-- Returns {generation, mailboxes with updates, dead letters, rejected letters, now,
--        {ordering key, claimable at, ...}}, times in ms of Redis
local generation = redis.call('GET', KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '0' then
  local oldest = string.format('%.0f', now - ARGV[3])
  redis.call('XTRIM', KEYS[3], 'MINID', oldest)
  redis.call('XTRIM', KEYS[4], 'MINID', oldest)
end
if not generation then
  generation = ARGV[2]
  redis.call('ZREM', KEYS[1], '') -- frees nothing, but a full Redis lets the other pass then
  redis.call('SET', KEYS[2], generation)
end
local ordering_keys = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1], 'WITHSCORES')
return {generation, redis.call('ZCARD', KEYS[1]), redis.call('XLEN', KEYS[3]),
  redis.call('XLEN', KEYS[4]), now, ordering_keys}

-- Removes a finished update, saves the state, and returns the next update.
-- KEYS  1 mailbox  2 state  3 pending  4 leases  5 dead letters
-- ARGV  1 ordering key  2 update_id  3 token  4 state  5 lifetime of the state in s
--       6 lease in ms (0: release it)
--       7 reason for a dead letter ('': no dead letter)  8 its time
--       9 maximum number of dead letters  10 their retention time in ms
-- Returns the next update;
--       0 if the lease is not ours, and nothing was changed;
--       1 if the mailbox is empty or was released;
--       2 if the lease is not ours any more, but this commit took effect earlier
if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[3] then
  return redis.call('GET', KEYS[2]) == ARGV[4] and 2 or 0
end
local dead_letter
if ARGV[7] ~= '' then
  dead_letter = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[2], 'BYSCORE')[1]
end
-- The first write frees memory, so that a full Redis accepts the others.
redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[2], ARGV[2])
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])
if dead_letter then
  redis.call('XADD', KEYS[5], 'MAXLEN', ARGV[9], '*',
    'ordering_key', ARGV[1], 'reason', ARGV[7], 'time', ARGV[8], 'envelope', dead_letter)
  redis.call('PEXPIRE', KEYS[5], ARGV[10])
end
local head = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
if not head then
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[1], '!' .. ARGV[1])
  return 1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[3], now + ARGV[6], ARGV[1])
if ARGV[6] == '0' then
  redis.call('HDEL', KEYS[4], ARGV[1], '!' .. ARGV[1])
  return 1
end
redis.call('HDEL', KEYS[4], '!' .. ARGV[1])
return head

-- Moves a forged member of a mailbox to the rejected letters; returns the next update.
-- KEYS  1 mailbox  2 pending  3 leases  4 rejected letters
-- ARGV  1 ordering key  2 token  3 member  4 reason  5 time of the rejection
--       6 maximum number of rejected letters  7 their retention time in ms
--       8 lease in ms
-- Returns the next update; 0 if the lease is not ours;
--       1 if the mailbox is empty, and its lease ended
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then return 0 end
-- The first write frees memory, so that a full Redis accepts the others.
if redis.call('ZREM', KEYS[1], ARGV[3]) == 1 then
  redis.call('XADD', KEYS[4], 'MAXLEN', ARGV[6], '*',
    'ordering_key', ARGV[1], 'reason', ARGV[4], 'time', ARGV[5], 'envelope', ARGV[3])
  redis.call('PEXPIRE', KEYS[4], ARGV[7])
end
local head = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
if not head then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1], '!' .. ARGV[1])
  return 1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[2], 'XX', now + ARGV[8], ARGV[1])
redis.call('HDEL', KEYS[3], '!' .. ARGV[1])
return head

-- Removes a delivery that ended, saves its record and the state, and returns the next mail.
-- KEYS  1 mailbox  2 state  3 pending  4 leases  5 dead letters  6 record  7 reports
--       8 counts  9 failures  10 waiting recipients (8 to 10 only for a broadcast)
-- ARGV  1 ordering key  2 delivery id  3 token  4 state  5 lifetime of the state in s
--       6 lease in ms (0: release it)
--       7 reason for a dead letter ('': no dead letter)  8 its time
--       9 maximum number of dead letters  10 their retention time in ms
--       11 state of the delivery; "scheduled" to let a recipient wait again  12 its result
--       13 lifetime of its record in ms
--       14 chat id  15 reason  16 when the counts expire, in ms  17 maximum number of failures
-- Returns the next mail;
--       0 if the lease is not ours, and nothing was changed;
--       1 if the mailbox is empty or was released;
--       2 if the lease is not ours any more, but this commit took effect earlier
local record = read_record(KEYS[6])
if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[3] then
  return record and not is_open(record) and record.owner == ARGV[3] and 2 or 0
end
local now = get_now()
local mail
-- The first write frees memory, so that a full Redis accepts the others.
local head = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
if head and string.sub(head, 1, #ARGV[2] + 2) == 'd' .. ARGV[2] .. ' ' then
  redis.call('ZREM', KEYS[1], head)
  mail = head
else
  redis.call('ZREM', KEYS[1], '')
  mail = record and remove_mail(KEYS[1], ARGV[2], record.position)
end
if mail and KEYS[8] then
  local state = ARGV[11]
  if state == 'scheduled' and record and is_waiting(record) then
    return_recipient(KEYS[8], KEYS[10], ARGV[14], ARGV[16])
  else
    if state == 'scheduled' then state = 'doubtful' end
    count_end(KEYS[8], KEYS[9], ARGV[14], state, ARGV[15], ARGV[16], ARGV[17])
  end
end
if record and is_open(record) then
  record.state, record.owner, record.result = ARGV[11], ARGV[3], ARGV[12]
  if record.state == 'scheduled' then record.state = 'cancelled' end
  end_delivery(KEYS[6], KEYS[7], record, ARGV[2] .. ' ' .. ARGV[1], now, ARGV[13])
end
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])
if mail and ARGV[7] ~= '' then
  redis.call('XADD', KEYS[5], 'MAXLEN', ARGV[9], '*',
    'ordering_key', ARGV[1], 'reason', ARGV[7], 'time', ARGV[8], 'envelope', mail)
  redis.call('PEXPIRE', KEYS[5], ARGV[10])
end
head = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
if not head then
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[1], '!' .. ARGV[1])
  return 1
end
redis.call('ZADD', KEYS[3], now + ARGV[6], ARGV[1])
if ARGV[6] == '0' then
  redis.call('HDEL', KEYS[4], ARGV[1], '!' .. ARGV[1])
  return 1
end
redis.call('HDEL', KEYS[4], '!' .. ARGV[1])
return head

-- Ends the delivery for a recipient of a broadcast again, whose end Redis has lost.
-- KEYS  1 mailbox  2 pending  3 leases  4 record  5 waiting recipients  6 counts  7 failures
-- ARGV  1 ordering key  2 delivery id  3 final state  4 result  5 lifetime of the record in ms
--       6 chat id  7 reason  8 when the counts expire, in ms  9 maximum number of failures
--       10 token of the owner that could not commit the end ('': it was committed)
-- Returns 1 if it ended, 0 if it had ended before, or was begun by another owner than the one
--       that could not commit
local record = read_record(KEYS[4])
if redis.call('SREM', KEYS[5], ARGV[6]) == 1 then
  redis.call('HINCRBY', KEYS[6], 'entered', 1)
elseif record and is_open(record)
  and (ARGV[10] == '' or record.owner == '-' or record.owner == ARGV[10]) then
  remove_mail(KEYS[1], ARGV[2], record.position)
  record.state, record.result, record.owner = ARGV[3], ARGV[4], '-'
  redis.call('SET', KEYS[4], write_record(record, get_now()), 'PX', ARGV[5])
  forget_if_empty(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
else
  return 0
end
count_end(KEYS[6], KEYS[7], ARGV[6], ARGV[3], ARGV[7], ARGV[8], ARGV[9])
return 1

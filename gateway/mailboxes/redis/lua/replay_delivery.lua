-- Puts a delivery that failed into its mailbox again.
-- KEYS  1 mailbox  2 pending  3 record
-- ARGV  1 ordering key  2 delivery id  3 mail  4 facts  5 report policy
--       6 state of the record  7 its owner  8 its result
--       9 number of the part in doubt if the record is missing
-- Returns 1 if it was put, 0 if it has not failed, 2 if the mailbox is full
local record = read_record(KEYS[3])
if record and record.state ~= 'failed' then return 0 end
local position = find_position(KEYS[1])
if not position then return 2 end
record = record or {sequence = 0, part = ARGV[9], report = ARGV[5], facts = ARGV[4], mail = ''}
record.state, record.owner, record.result, record.position = ARGV[6], ARGV[7], ARGV[8], position
record.sequence = record.sequence + 1
local now = get_now()
redis.call('ZADD', KEYS[1], position, ARGV[3])
redis.call('SET', KEYS[3], write_record(record, now))
redis.call('ZADD', KEYS[2], 'NX', now, ARGV[1])
return 1

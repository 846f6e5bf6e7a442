-- Cancels a delivery that nobody has begun.
-- KEYS  1 mailbox  2 pending  3 leases  4 record  5 scheduled  6 reports
-- ARGV  1 ordering key  2 delivery id  3 result  4 lifetime of ended records in ms
-- Returns the record after that; 0 if there is none
local record = read_record(KEYS[4])
if not record then return 0 end
if not is_waiting(record) then return record.value end
cancel(KEYS[4], KEYS[1], KEYS[5], KEYS[6], record, ARGV[2], ARGV[1], ARGV[3], get_now(), ARGV[4])
forget_if_empty(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
return redis.call('GET', KEYS[4])

-- Ends a delivery again whose end Redis has lost.
-- KEYS  1 mailbox  2 pending  3 leases  4 record  5 scheduled  6 reports
-- ARGV  1 ordering key  2 delivery id  3 final state  4 result
--       5 lifetime of ended records in ms
-- Returns 1 if it ended; 0 if it had ended before, has no record, or was begun and is to be
--       cancelled
local record = read_record(KEYS[4])
if not record or not is_open(record) then return 0 end
if ARGV[3] == 'cancelled' and not is_waiting(record) then return 0 end
remove_everywhere(KEYS[1], KEYS[5], record, ARGV[2], ARGV[1])
record.state, record.result, record.owner = ARGV[3], ARGV[4], '-'
end_delivery(KEYS[4], KEYS[6], record, ARGV[2] .. ' ' .. ARGV[1], get_now(), ARGV[5])
forget_if_empty(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
return 1

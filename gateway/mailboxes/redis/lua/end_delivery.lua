-- Ends a delivery again whose end Redis has lost.
-- KEYS  1 mailbox  2 pending  3 leases  4 record  5 scheduled  6 reports
-- ARGV  1 ordering key  2 delivery id  3 final state  4 result
--       5 lifetime of ended records in ms
--       6 facts of a record to make if it is missing ('': make none)  7 its report policy
--       8 token of the owner that could not commit the end ('': it was committed)
-- Returns 1 if it ended; 0 if it had ended before, has no record, was begun and is to be
--       cancelled, or was begun by another owner than the one that could not commit
local record = read_record(KEYS[4])
if not record then
  if ARGV[6] == '' then return 0 end
  -- If its mail is put again after this, it is not stored.
  record = {state = 'sending', sequence = 2, part = '0', owner = '-', position = '-', report = ARGV[7],
    facts = ARGV[6], result = '', mail = ''}
elseif not is_open(record) or ARGV[3] == 'cancelled' and not is_waiting(record) then
  return 0
elseif ARGV[8] ~= '' and record.owner ~= '-' and record.owner ~= ARGV[8] then
  return 0
end
remove_everywhere(KEYS[1], KEYS[5], record, ARGV[2], ARGV[1])
record.state, record.result, record.owner = ARGV[3], ARGV[4], '-'
end_delivery(KEYS[4], KEYS[6], record, ARGV[2] .. ' ' .. ARGV[1], get_now(), ARGV[5])
forget_if_empty(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
return 1

-- Keeps a dead letter that never was in a mailbox.
-- KEYS  1 dead letters
-- ARGV  1 how many are kept  2 for how many ms  3... the fields and values of the entry
local entry = {}
for i = 3, #ARGV do entry[#entry + 1] = ARGV[i] end
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', unpack(entry))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1

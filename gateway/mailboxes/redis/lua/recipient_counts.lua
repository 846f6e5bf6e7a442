-- Functions that count the recipients of a broadcast in one shard. They precede scripts.
--
-- The counts are a hash: "total", "entered" (those who stopped waiting, also without a
-- delivery), the number of ends in each final state, and "reason <word>" for each reason.

-- Lets a recipient wait again whose delivery nobody has begun.
local function return_recipient(counts, waiting, chat_id, expires_at)
  redis.call('SADD', waiting, chat_id)
  redis.call('PEXPIREAT', waiting, expires_at)
  redis.call('HINCRBY', counts, 'entered', -1)
end

-- Counts the end of the delivery for a recipient.
local function count_end(counts, failures, chat_id, state, reason, expires_at, max_failures)
  redis.call('HINCRBY', counts, state, 1)
  if state ~= 'sent' and reason ~= '' then redis.call('HINCRBY', counts, 'reason ' .. reason, 1) end
  redis.call('PEXPIREAT', counts, expires_at)
  if state == 'blocked' or state == 'failed' or state == 'doubtful' then
    if redis.call('RPUSH', failures, chat_id .. ' ' .. state .. ' ' .. reason) > tonumber(max_failures) then
      redis.call('LTRIM', failures, 0, max_failures - 1)
    end
    redis.call('PEXPIREAT', failures, expires_at)
  end
end

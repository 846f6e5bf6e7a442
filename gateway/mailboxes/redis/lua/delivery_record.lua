-- Functions that read and write deliveries. They precede the scripts of deliveries.
--
-- A record is a string: nine words and numbers, each followed by a space (state, sequence
-- number, next part, owner, time of the last change in ms, position in the mailbox, report
-- policy, length of the facts, length of the result), then the facts, the result, and the
-- mail of a delivery that is not in its mailbox yet. The owner is the token under which a
-- part was begun or the end was committed, or "-".
local function read_record(key)
  local value = redis.call('GET', key)
  if not value then return nil end
  local state, sequence, part, owner, changed, position, report, facts, result, start =
    string.match(value, '^(%l+) (%d+) (%d+) (%S+) (%d+) (%S+) (%l+) (%d+) (%d+) ()')
  if not state then return nil end
  return {
    value = value, state = state, sequence = tonumber(sequence), part = part, owner = owner,
    position = position, report = report,
    facts = string.sub(value, start, start + facts - 1),
    result = string.sub(value, start + facts, start + facts + result - 1),
    mail = string.sub(value, start + facts + result)
  }
end

-- Returns the stored form of a record.
local function write_record(record, now)
  return string.format('%s %d %s %s %.0f %s %s %d %d ', record.state, record.sequence, record.part,
    record.owner, now, record.position, record.report, #record.facts, #record.result)
    .. record.facts .. record.result .. record.mail
end

local function is_open(record)
  return record.state == 'accepted' or record.state == 'scheduled' or record.state == 'sending'
end

-- Returns whether nobody has begun to send it.
local function is_waiting(record)
  return record.state == 'accepted' or record.state == 'scheduled'
end

local function get_now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Removes a delivery from its mailbox, and returns its mail, or nil if it is not there.
local function remove_mail(mailbox, id, position)
  if position == '-' then return nil end
  for _, member in ipairs(redis.call('ZRANGE', mailbox, position, position, 'BYSCORE')) do
    if string.sub(member, 1, #id + 2) == 'd' .. id .. ' ' then
      redis.call('ZREM', mailbox, member)
      return member
    end
  end
end

-- Returns the position behind all mail, or nil if there is none before the next update.
local function find_position(mailbox)
  local last = redis.call('ZRANGE', mailbox, -1, -1, 'WITHSCORES')[2]
  local position = (tonumber(last) or 0) + 2 ^ -20
  if position == math.floor(position) then return nil end
  return string.format('%.17g', position)
end

-- Stores the record of a delivery that has ended, and its report.
-- The owner of the reports is whoever takes them; without one they expire.
local function end_delivery(key, reports, record, member, now, lifetime)
  record.sequence, record.mail = record.sequence + 1, ''
  redis.call('SET', key, write_record(record, now), 'PX', lifetime)
  if record.report == 'all' or (record.report == 'failures' and record.state ~= 'sent') then
    redis.call('ZREMRANGEBYSCORE', reports, '-inf', string.format('%.0f', now - lifetime))
    redis.call('ZADD', reports, now, member)
    redis.call('PEXPIRE', reports, lifetime)
  end
end

-- Removes a delivery from its mailbox, or from those that wait for their time.
local function remove_everywhere(mailbox, scheduled, record, id, ordering_key)
  -- Removes nothing if the delivery is gone. A full Redis accepts the next writes then too.
  redis.call('ZREM', scheduled, id .. ' ' .. ordering_key)
  if record.state ~= 'scheduled' then remove_mail(mailbox, id, record.position) end
end

-- Ends a delivery that nobody has begun. Its result is signed for the state "cancelled".
local function cancel(key, mailbox, scheduled, reports, record, id, ordering_key, result, now, lifetime)
  remove_everywhere(mailbox, scheduled, record, id, ordering_key)
  record.state, record.result = 'cancelled', result
  end_delivery(key, reports, record, id .. ' ' .. ordering_key, now, lifetime)
end

-- Forgets a mailbox without mail, unless it has an owner, which does so itself.
local function forget_if_empty(mailbox, pending, leases, ordering_key)
  if redis.call('ZCARD', mailbox) == 0 and not redis.call('HGET', leases, ordering_key) then
    redis.call('ZREM', pending, ordering_key)
    redis.call('HDEL', leases, '!' .. ordering_key)
  end
end

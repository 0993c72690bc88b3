// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient

/// Beginning sessions.
extension SessionScripts {
    /// - `evict`: ends the oldest sessions but `sid` while there are more than there may be. At most 200 at once, so that no script holds up the others:
    ///   returns whether that was too few, and the ids.
    private static let evicting =
        common + """
            local function evict(sid, surplus, now, retain, prefix)
              local gone, handled, found = {}, 0, true
              while found and #gone < surplus and handled < 200 do
                found = false
                for _, old in ipairs(redis.call('ZRANGE', KEYS[5], 0, math.min(surplus - #gone, 50))) do
                  if old ~= sid and #gone < surplus then
                    found, handled = true, handled + 1
                    redis.call('ZREM', KEYS[5], old)
                    redis.call('ZREM', KEYS[4], old)
                    if redis.call('SREM', KEYS[1], old) == 1 then
                      remember(record_key(prefix, old), KEYS[3], old, now, 'max_per_user', retain)
                      gone[#gone + 1] = old
                    end
                  end
                end
              end
              return {(found and #gone < surplus) and 1 or 0, gone}
            end
            local function all_of_their_type()
              return is(KEYS[1], 'set') and is(KEYS[2], 'hash') and is(KEYS[3], 'zset') and is(KEYS[4], 'zset') and is(KEYS[5], 'zset')
            end

            """

    /// KEYS sessions, record, records, ends, begins. ARGV sid, now, expires_at, retain, max_per_user, record prefix, then names and values of the record.
    /// Returns {1 if more have to give way or 0, {ids that gave way}}.
    static let create = RedisScript(
        evicting + """
            if not all_of_their_type() then return wrong end
            local sid, now, ends_at, retain, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
            drop_ended(KEYS[1], KEYS[4], KEYS[5], now)
            local surplus = redis.call('SCARD', KEYS[1]) + 1 - redis.call('SISMEMBER', KEYS[1], sid) - most
            local gone = evict(sid, surplus, now, retain, ARGV[6])
            local lives = {life(KEYS[1]), life(KEYS[3]), life(KEYS[4]), life(KEYS[5])}
            redis.call('HSET', KEYS[2], unpack(ARGV, 7))
            redis.call('PEXPIREAT', KEYS[2], ends_at + retain)
            redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
            redis.call('ZADD', KEYS[3], ends_at + retain, sid)
            redis.call('ZADD', KEYS[4], ends_at, sid)
            redis.call('ZADD', KEYS[5], now, sid)
            redis.call('SADD', KEYS[1], sid)
            keep(KEYS[1], lives[1], ends_at)
            keep(KEYS[3], lives[2], ends_at + retain)
            keep(KEYS[4], lives[3], ends_at)
            keep(KEYS[5], lives[4], ends_at)
            return gone
            """)

    /// What `create` left over. KEYS as there. ARGV sid, now, retain, max_per_user, record prefix. Returns as there.
    static let evict = RedisScript(
        evicting + """
            if not all_of_their_type() then return wrong end
            return evict(ARGV[1], redis.call('SCARD', KEYS[1]) - tonumber(ARGV[4]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[5])
            """)

    /// KEYS sessions, record, records, ends, begins, logouts. ARGV sid, now, expires_at, retain. Returns 1, or 0 where the id is remembered as ended.
    /// What is over by its time, or forgotten, begins as if it were new.
    static let register = RedisScript(
        evicting + """
            if not (all_of_their_type() and is(KEYS[6], 'zset')) then return wrong end
            local sid, now, ends_at, retain = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
            drop_ended(KEYS[1], KEYS[4], KEYS[5], now)
            local known = redis.call('HMGET', KEYS[2], 'created_at', 'expires_at', 'revoked_at')
            local begins = redis.call('SISMEMBER', KEYS[1], sid) == 0
            if begins and (known[1] or known[3]) then
              local why = ending(known, KEYS[6], now, retain)
              if why == 'revoked' or why == 'other' then return 0 end
            end
            local lives = {life(KEYS[1]), life(KEYS[3]), life(KEYS[4]), life(KEYS[5])}
            if begins then redis.call('DEL', KEYS[2]) end
            if begins or not known[1] then redis.call('HSET', KEYS[2], 'created_at', now) end
            redis.call('HSET', KEYS[2], 'expires_at', ends_at)
            redis.call('PEXPIREAT', KEYS[2], ends_at + retain)
            redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
            redis.call('ZADD', KEYS[3], ends_at + retain, sid)
            redis.call('ZADD', KEYS[4], ends_at, sid)
            if begins then redis.call('ZADD', KEYS[5], now, sid) else redis.call('ZADD', KEYS[5], 'NX', now, sid) end
            redis.call('SADD', KEYS[1], sid)
            keep(KEYS[1], lives[1], ends_at)
            keep(KEYS[3], lives[2], ends_at + retain)
            keep(KEYS[4], lives[3], ends_at)
            keep(KEYS[5], lives[4], ends_at)
            return 1
            """)

    /// KEYS sessions, record, records, ends, begins, logouts. ARGV sid, now, retain, presented, successor, proven, window, refresh lifetime, session lifetime.
    /// The decision is `RotationRule.decide` in Lua. Returns {decision, {record}}. Adds nothing to the set.
    static let rotate = RedisScript(
        common + """
            if not (is(KEYS[1], 'set') and is(KEYS[2], 'hash')) then return wrong end
            local sid, now, retain, presented = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
            local known = redis.call('HMGET', KEYS[2], 'created_at', 'expires_at', 'revoked_at', 'refresh_hash', 'previous_hash', 'rotated_at')
            local current, previous = known[4] == presented, known[5] == presented
            if not (current or previous or ARGV[6] == '1') then return {'unknown'} end
            local in_window = previous and now - (tonumber(known[6]) or 0) < tonumber(ARGV[7])
            if redis.call('SISMEMBER', KEYS[1], sid) == 0 then
              -- Once its time is over anybody may have taken it out of the set; that is not what ended it.
              local by_time = (current or in_window) and is(KEYS[6], 'zset') and ending(known, KEYS[6], now, retain) == 'time'
              return {by_time and 'expired' or 'ended'}
            end
            if not (current or in_window) then
              redis.call('SREM', KEYS[1], sid)
              zrem(KEYS[4], sid)
              zrem(KEYS[5], sid)
              remember(KEYS[2], KEYS[3], sid, now, 'refresh_reuse', retain)
              return {'reused'}
            end
            if (tonumber(known[2]) or now + 1) <= now then return {'expired'} end
            if in_window and not current then return {'repeated', redis.call('HGETALL', KEYS[2])} end
            if not (is(KEYS[3], 'zset') and is(KEYS[4], 'zset') and is(KEYS[5], 'zset')) then return wrong end
            local ends_at = math.min(now + tonumber(ARGV[8]), (tonumber(known[1]) or now) + tonumber(ARGV[9]))
            redis.call('HSET', KEYS[2], 'refresh_hash', ARGV[5], 'previous_hash', presented, 'rotated_at', now, 'last_seen_at', now, 'expires_at', ends_at)
            redis.call('PEXPIREAT', KEYS[2], ends_at + retain)
            redis.call('ZADD', KEYS[3], 'XX', ends_at + retain, sid)
            redis.call('ZADD', KEYS[4], 'XX', ends_at, sid)
            keep(KEYS[1], life(KEYS[1]), ends_at)
            keep(KEYS[3], life(KEYS[3]), ends_at + retain)
            keep(KEYS[4], life(KEYS[4]), ends_at)
            keep(KEYS[5], life(KEYS[5]), ends_at)
            return {'rotated', redis.call('HGETALL', KEYS[2])}
            """)
}

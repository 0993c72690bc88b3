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
                for _, old in ipairs(redis.call('ZRANGE', K[5], 0, math.min(surplus - #gone, 50))) do
                  if old ~= sid and #gone < surplus then
                    found, handled = true, handled + 1
                    redis.call('ZREM', K[5], old)
                    redis.call('ZREM', K[4], old)
                    if redis.call('SREM', K[1], old) == 1 then
                      remember(record_key(prefix, old), K[3], old, now, 'max_per_user', retain)
                      gone[#gone + 1] = old
                    end
                  end
                end
              end
              return {(found and #gone < surplus) and 1 or 0, gone}
            end
            local function all_of_their_type()
              return is(K[1], 'set') and is(K[2], 'hash') and is(K[3], 'zset') and is(K[4], 'zset') and is(K[5], 'zset')
            end

            """

    /// KEYS sessions, record, records, ends, begins. ARGV sid, now, expires_at, retain, max_per_user, record prefix, then names and values of the record.
    /// Returns {1 if more have to give way or 0, {ids that gave way}}.
    static let create = RedisScript(
        evicting + """
            if not all_of_their_type() then return wrong end
            local sid, now, ends_at, retain, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
            drop_ended(K[1], K[4], K[5], now)
            local surplus = redis.call('SCARD', K[1]) + 1 - redis.call('SISMEMBER', K[1], sid) - most
            local gone = evict(sid, surplus, now, retain, ARGV[6])
            local lives = {life(K[1]), life(K[3]), life(K[4]), life(K[5])}
            redis.call('HSET', K[2], unpack(ARGV, 7, #ARGV - further - 1))
            redis.call('PEXPIREAT', K[2], ends_at + retain)
            redis.call('ZREMRANGEBYSCORE', K[3], '-inf', now)
            redis.call('ZADD', K[3], ends_at + retain, sid)
            redis.call('ZADD', K[4], ends_at, sid)
            redis.call('ZADD', K[5], now, sid)
            redis.call('SADD', K[1], sid)
            keep(K[1], lives[1], ends_at)
            keep(K[3], lives[2], ends_at + retain)
            keep(K[4], lives[3], ends_at)
            keep(K[5], lives[4], ends_at)
            return gone
            """)

    /// What `create` left over. KEYS as there. ARGV sid, now, retain, max_per_user, record prefix. Returns as there.
    static let evict = RedisScript(
        evicting + """
            if not all_of_their_type() then return wrong end
            return evict(ARGV[1], redis.call('SCARD', K[1]) - tonumber(ARGV[4]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[5])
            """)

    /// KEYS sessions, record, records, ends, begins, logouts. ARGV sid, now, expires_at, retain. Returns 1, or 0 where the id is remembered as ended.
    /// What is over by its time, or forgotten, begins as if it were new.
    static let register = RedisScript(
        evicting + """
            if not (all_of_their_type() and is(K[6], 'zset')) then return wrong end
            local sid, now, ends_at, retain = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
            drop_ended(K[1], K[4], K[5], now)
            local known = redis.call('HMGET', K[2], 'created_at', 'expires_at', 'revoked_at')
            local begins = redis.call('SISMEMBER', K[1], sid) == 0
            if begins and (known[1] or known[3]) then
              local why = ending(known, K[6], now, retain)
              if why == 'revoked' or why == 'other' then return 0 end
            end
            local lives = {life(K[1]), life(K[3]), life(K[4]), life(K[5])}
            if begins then redis.call('DEL', K[2]) end
            if begins or not known[1] then redis.call('HSET', K[2], 'created_at', now) end
            redis.call('HSET', K[2], 'expires_at', ends_at)
            redis.call('PEXPIREAT', K[2], ends_at + retain)
            redis.call('ZREMRANGEBYSCORE', K[3], '-inf', now)
            redis.call('ZADD', K[3], ends_at + retain, sid)
            redis.call('ZADD', K[4], ends_at, sid)
            if begins then redis.call('ZADD', K[5], now, sid) else redis.call('ZADD', K[5], 'NX', now, sid) end
            redis.call('SADD', K[1], sid)
            keep(K[1], lives[1], ends_at)
            keep(K[3], lives[2], ends_at + retain)
            keep(K[4], lives[3], ends_at)
            keep(K[5], lives[4], ends_at)
            return 1
            """)

    /// KEYS sessions, record, records, ends, begins, logouts. ARGV sid, now, retain, presented, successor, proven, window, refresh lifetime, session lifetime.
    /// The decision is `RotationRule.decide` in Lua. Returns {decision, {record}}. Adds nothing to the set.
    static let rotate = RedisScript(
        common + """
            if not (is(K[1], 'set') and is(K[2], 'hash')) then return wrong end
            local sid, now, retain, presented = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
            local known = redis.call('HMGET', K[2], 'created_at', 'expires_at', 'revoked_at', 'refresh_hash', 'previous_hash', 'rotated_at')
            local current, previous = known[4] == presented, known[5] == presented
            if not (current or previous or ARGV[6] == '1') then return {'unknown'} end
            local in_window = previous and now - (tonumber(known[6]) or 0) < tonumber(ARGV[7])
            if redis.call('SISMEMBER', K[1], sid) == 0 then
              again(K[2])
              -- Once its time is over anybody may have taken it out of the set; that is not what ended it.
              local by_time = (current or in_window) and is(K[6], 'zset') and ending(known, K[6], now, retain) == 'time'
              return {by_time and 'expired' or 'ended'}
            end
            if not (current or in_window) then
              redis.call('SREM', K[1], sid)
              zrem(K[4], sid)
              zrem(K[5], sid)
              remember(K[2], K[3], sid, now, 'refresh_reuse', retain)
              return {'reused'}
            end
            if (tonumber(known[2]) or now + 1) <= now then return {'expired'} end
            if in_window and not current then return {'repeated', redis.call('HGETALL', K[2])} end
            if not (is(K[3], 'zset') and is(K[4], 'zset') and is(K[5], 'zset')) then return wrong end
            local ends_at = math.min(now + tonumber(ARGV[8]), (tonumber(known[1]) or now) + tonumber(ARGV[9]))
            redis.call('HSET', K[2], 'refresh_hash', ARGV[5], 'previous_hash', presented, 'rotated_at', now, 'last_seen_at', now, 'expires_at', ends_at)
            redis.call('PEXPIREAT', K[2], ends_at + retain)
            redis.call('ZADD', K[3], 'XX', ends_at + retain, sid)
            redis.call('ZADD', K[4], 'XX', ends_at, sid)
            keep(K[1], life(K[1]), ends_at)
            keep(K[3], life(K[3]), ends_at + retain)
            keep(K[4], life(K[4]), ends_at)
            keep(K[5], life(K[5]), ends_at)
            return {'rotated', redis.call('HGETALL', K[2])}
            """)
}

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient

/// The heartbeat's scripts. Renewing one that is there needs no memory, so Redis does it also where it has none left.
enum FleetScripts {
    /// The set of ids outlives every heartbeat in it by far.
    private static let keepEdges = """
        local function keep_edges()
          if redis.call('SISMEMBER', KEYS[2], ARGV[2]) == 0 then redis.pcall('SADD', KEYS[2], ARGV[2]) end
          redis.call('PEXPIRE', KEYS[2], math.max(10 * ARGV[1], 60000))
        end

        """

    /// KEYS edge, edges. ARGV milliseconds, id, value.
    static let write = RedisScript(
        keepEdges + """
            redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[1])
            keep_edges()
            return 1
            """)

    /// KEYS edge, edges. ARGV milliseconds, id. Returns 1, or 0 where the heartbeat is not there.
    static let renew = RedisScript(
        keepEdges + """
            local was = redis.call('PEXPIRE', KEYS[1], ARGV[1])
            if was == 1 then keep_edges() end
            return was
            """)

    /// KEYS edges. ARGV prefix of edge keys. Returns {{id, value, milliseconds left}, …} of those that have a heartbeat, and forgets the others.
    static let list = RedisScript(
        """
        local result = {}
        for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
          local left = redis.call('PTTL', ARGV[1] .. id)
          if left == -2 then
            redis.call('SREM', KEYS[1], id)
          else
            result[#result + 1] = {id, redis.call('GET', ARGV[1] .. id) or '', left}
          end
        end
        return result
        """)
}

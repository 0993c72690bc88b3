// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What a presented refresh token means for its session (contract §5, Refresh). Pure; the Redis store's script says the same in Lua.
package enum RotationRule {
    package enum Decision: Sendable, Equatable {
        case rotate, `repeat`, reuse, unknown, ended, expired
    }

    /// - Parameters:
    ///   - rotatedAt: when the current token became current; the window counts from then and no retry extends it.
    ///   - provenOrigin: the token's MAC was right, so that it was given out for this session, however long ago.
    package static func decide(
        presented: [UInt8], current: [UInt8]?, previous: [UInt8]?, rotatedAt: UnixMilliseconds, isActive: Bool, expiresAt: UnixMilliseconds?,
        provenOrigin: Bool, reuseWindow: UnixMilliseconds, now: UnixMilliseconds
    ) -> Decision {
        let isCurrent = current == presented
        let isPrevious = previous == presented
        guard isCurrent || isPrevious || provenOrigin else { return .unknown }
        guard isActive else { return .ended }
        if isCurrent || (isPrevious && now - rotatedAt < reuseWindow) {
            if let expiresAt, expiresAt <= now { return .expired }
            return isCurrent ? .rotate : .repeat
        }
        return .reuse
    }
}

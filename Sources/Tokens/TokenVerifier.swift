// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What became of a token.
package enum TokenVerdict<Token: Sendable>: Sendable {
    case verified(Token)
    /// `issuer`: the index of the issuer that the token names, nil when there is none. With `keyUnknown` that one's keys may be worth
    /// asking for again.
    case refused(TokenRefusal, issuer: Int?)
}

/// Judges tokens: a pure function of the token, the issuers and the time. Usable from every event loop; a reload makes a new one.
package struct TokenVerifier: Sendable {
    /// `limits.token_bytes`. Everything that is parsed before the signature is checked is bounded by it.
    package static let defaultTokenByteLimit = 8192

    package let issuers: [TrustedIssuer]
    private let tokenByteLimit: Int
    /// The issuers once more, each to be held by what is being judged without a copy of all that it is made of.
    private let trusts: [Trust]

    package init(issuers: [TrustedIssuer], tokenByteLimit: Int = TokenVerifier.defaultTokenByteLimit) {
        self.issuers = issuers
        self.tokenByteLimit = tokenByteLimit
        trusts = issuers.map(Trust.init)
    }

    /// - Parameters:
    ///   - token: the compact form, borrowed for the call.
    ///   - now: Unix seconds.
    ///   - headers: what the caller's thread remembers of headers; nil where tokens are few.
    package func judge(_ token: UnsafeRawBufferPointer, now: Double, headers: HeaderMemory? = nil) -> TokenVerdict<VerifiedToken> {
        judge(token, headers) { token throws(TokenRefusal) in try VerifiedToken(checking: token, now: now) }
    }

    /// As `judge`, of a logout token. One of an issuer that does not send them (`TrustedIssuer.sendsLogoutTokens`) is refused by its issuer,
    /// before its keys matter.
    package func judgeLogout(_ token: UnsafeRawBufferPointer, now: Double) -> TokenVerdict<LogoutToken> {
        judge(token, nil, of: { $0.sendsLogoutTokens }) { token throws(TokenRefusal) in try LogoutToken(checking: token, now: now) }
    }

    /// What every kind of token goes through.
    private func judge<Token>(
        _ token: UnsafeRawBufferPointer, _ headers: HeaderMemory?, of isConcerned: (TrustedIssuer) -> Bool = { _ in true },
        _ check: (borrowing AuthenticToken) throws(TokenRefusal) -> Token
    ) -> TokenVerdict<Token> {
        var index: Int?
        do throws(TokenRefusal) {
            guard token.count <= tokenByteLimit else { throw .malformed }
            let unverified = try UnverifiedToken(token, headers)
            let found = try issuerIndex(of: unverified)
            index = found
            guard isConcerned(issuers[found]) else { throw .issuer }
            let authentic = try AuthenticToken(checking: unverified, trusts[found], index: found)
            authentic.remember(in: headers)
            return .verified(try check(authentic))
        } catch {
            return .refused(error, issuer: index)
        }
    }

    package func verify(_ token: UnsafeRawBufferPointer, now: Double) throws(TokenRefusal) -> VerifiedToken {
        switch judge(token, now: now) {
        case .verified(let token): return token
        case .refused(let refusal, _): throw refusal
        }
    }

    package func verify(_ token: [UInt8], now: Double) throws(TokenRefusal) -> VerifiedToken {
        switch token.withUnsafeBytes({ judge($0, now: now) }) {
        case .verified(let token): return token
        case .refused(let refusal, _): throw refusal
        }
    }

    /// The issuer that the token names. It only chooses whose keys are tried; the signature decides whether that was true.
    private func issuerIndex(of token: borrowing UnverifiedToken) throws(TokenRefusal) -> Int {
        guard let place = token.claims.find(.issuer),
            let index = token.claims.withString(place, { name in trusts.firstIndex { $0.name.isSame(as: name) } }) ?? nil
        else { throw .issuer }
        return index
    }
}

/// An issuer in one piece, and what of it is compared with every token: whoever holds it counts one reference.
final class Trust: Sendable {
    let issuer: TrustedIssuer
    /// `iss`.
    let name: [UInt8]
    let audiences: [[UInt8]]
    let algorithms: AlgorithmSet
    let userClaim, sessionClaim: ClaimName

    init(_ issuer: TrustedIssuer) {
        self.issuer = issuer
        name = Array(issuer.issuer.utf8)
        audiences = issuer.audiences.map { Array($0.utf8) }
        algorithms = AlgorithmSet(issuer.algorithms)
        userClaim = ClaimName(issuer.userClaim)
        sessionClaim = ClaimName(issuer.sessionClaim)
    }
}

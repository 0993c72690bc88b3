// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

/// Whether whose session is active may also do this: the scopes and claims that a route asks for (contract §4.7).
enum Authorisation {
    /// What `judge` looks at on any of these routes, each name once.
    static func claimNames(of routes: [RouteConfiguration]) -> [ClaimName] {
        let named = routes.flatMap { $0.claims.map(\.claim) } + (routes.contains { !$0.scopes.isEmpty } ? ["scope", "scp"] : [])
        return Set(named.map { Array($0.utf8) }).map { ClaimName(String(decoding: $0, as: UTF8.self)) }
    }

    /// Nil: it may. That is remembered in the token for the route, as neither changes.
    static func judge(_ token: RememberedToken, _ route: Route) -> Rejection? {
        if route.scopes.isEmpty, route.claims.isEmpty { return nil }
        let bit: UInt64 = route.index < 64 ? 1 << UInt64(route.index) : 0
        if token.passedRoutes & bit != 0 { return nil }
        let claims = token.claims
        for scope in route.scopes where !holds(scope, claims) { return .scopeMissing }
        for (name, values) in route.claims {
            guard let claim = claims[name], values.contains(where: { claim.holds($0) }) else { return .claimMismatch }
        }
        token.passedRoutes |= bit
        return nil
    }

    /// `scope` is a string of words between blanks (RFC 8693 §4.2), `scp` an array of them; in other types they say nothing.
    private static func holds(_ scope: String, _ claims: JSONObject) -> Bool {
        if let words = claims["scope"]?.string, words.utf8.split(separator: UInt8(ascii: " ")).contains(where: { $0.elementsEqual(scope.utf8) }) {
            return true
        }
        guard case .array(let words) = claims["scp"] else { return false }
        return words.contains { $0.string?.isIdentical(to: scope) ?? false }
    }
}
